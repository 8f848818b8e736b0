// Package deploy holds no code: its tests read what stands in the folders beside it as those do whom it is for.
package deploy

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// A dashboard is what the tests read of one of Grafana's.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type, Definition string
		}
	}
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ RefID, Expr, LegendFormat string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	file, err := os.ReadFile("grafana/vitago.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var promQL = parser.NewParser(parser.Options{})

// metricsOf returns the names of metrics in an expression, with the labels that are asked for.
func metricsOf(t *testing.T, expr string) map[string][]string {
	t.Helper()
	parsed, err := promQL.ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return nil
	}
	all := map[string][]string{}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			all[s.Name] = append(all[s.Name], "")
			for _, m := range s.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					all[s.Name] = append(all[s.Name], m.Name)
				}
			}
		}
		return nil
	})
	return all
}

// expand puts a value in the place of Grafana's variables, as it does itself before it asks.
var expand = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*").Replace

// legends are the labels in the format of a legend.
var legends = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// Panels lie side by side, each has a question, and the variables are those that are declared.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if d.Title != "Vitago" || d.UID != "vitago" || d.SchemaVersion < 36 {
		t.Errorf("title %q, uid %q, schema %d", d.Title, d.UID, d.SchemaVersion)
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"datasource", "job", "instance"}) {
		t.Errorf("variables: %v", names)
	}
	ids := map[int]string{}
	var taken [24][]int // the lines of every column
	for _, p := range d.Panels {
		if other, ok := ids[p.ID]; ok {
			t.Errorf("%q and %q have the id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		if p.Title == "" || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d, %q, lies at %+v", p.ID, p.Title, p.GridPos)
			continue
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if slices.Contains(taken[x], y) {
					t.Fatalf("%q lies on another panel", p.Title)
				}
				taken[x] = append(taken[x], y)
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("%q is a %s of %d questions", p.Title, p.Type, len(p.Targets))
		}
		for _, q := range p.Targets {
			expr := expand(q.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%q: %s has a variable that is not known", p.Title, q.Expr)
			}
			for _, l := range legends.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !strings.Contains(expr, l[1]) {
					t.Errorf("%q: the legend has %s, which %s has not", p.Title, l[1], q.Expr)
				}
			}
			if len(metricsOf(t, expr)) == 0 {
				t.Errorf("%q: %s asks for no metric", p.Title, q.Expr)
			}
		}
	}
	if len(ids) < 25 {
		t.Errorf("%d panels, want those of requests, queue, batches, models and memory", len(ids))
	}
}

// Prometheus takes the rules.
func TestAlerts(t *testing.T) {
	groups := readAlerts(t)
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%+v wants a name, a severity, a summary and a description", r)
			}
			if len(metricsOf(t, r.Expr)) == 0 {
				t.Errorf("%s: %s asks for no metric", r.Alert, r.Expr)
			}
		}
	}
}

func readAlerts(t *testing.T) *rulefmt.RuleGroups {
	t.Helper()
	file, err := os.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(file, false, model.UTF8Validation, promQL, slog.Default())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return groups
}
