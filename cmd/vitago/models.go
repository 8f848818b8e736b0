package main

import (
	"bytes"
	_ "embed" // the table of models
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/internal/pyjson"
)

// A model is one that is known to work. What is not known of it is empty.
type model struct {
	Name       string   `json:"name"`                 // that download takes
	Also       []string `json:"also,omitempty"`       // what other libraries call it: MODEL/PRETRAINED of open_clip
	Family     string   `json:"family"`               // who trained it, or what software it is of
	Form       string   `json:"form"`                 // of the tower, as ViT-B/32
	Gives      string   `json:"gives"`                // images, texts, tokens
	Pixels     int      `json:"pixels,omitempty"`     // of the input's side
	Embedding  int      `json:"embedding,omitempty"`  // numbers of an embedding
	Parameters int64    `json:"parameters,omitempty"` // of all that is read
	Bytes      int64    `json:"bytes,omitempty"`      // of the download
	Licence    string   `json:"licence,omitempty"`    // of the weights
	Languages  string   `json:"languages,omitempty"`  // of the texts
	Note       string   `json:"note,omitempty"`       // what else is to know
	Sources    []string `json:"sources"`              // where these facts are from
}

// A family that is not supported.
type family struct {
	Family string   `json:"family"`
	Match  []string `json:"match"` // regular expressions of names, in lower case
	Why    string   `json:"why"`   // what is otherwise
}

// are is the subject and the verb of a sentence about f.
func (f family) are() string {
	if strings.Contains(f.Family, ", ") {
		return f.Family + " are"
	}
	return f.Family + " is"
}

// A zoo is what is known of models.
type zoo struct {
	Models      []model  `json:"models"`
	Unsupported []family `json:"unsupported"`
}

//go:embed models.json
var modelsJSON []byte

// knownModels returns what is known of models.
var knownModels = sync.OnceValue(func() (z zoo) {
	if err := json.Unmarshal(modelsJSON, &z); err != nil {
		panic(err) // the file is a part of the program
	}
	return z
})

// asWritten makes the ways to write open_clip's MODEL/PRETRAINED one.
func asWritten(name string) string { return strings.ToLower(strings.Replace(name, ":", "/", 1)) }

// knownModel returns the model of a name, that of the hub or of another library.
func knownModel(name string) (model, bool) {
	for _, m := range knownModels().Models {
		if slices.ContainsFunc(append([]string{m.Name}, m.Also...), func(n string) bool { return asWritten(n) == asWritten(name) }) {
			return m, true
		}
	}
	return model{}, false
}

// knownNames returns all names of all models.
func knownNames() (names []string) {
	for _, m := range knownModels().Models {
		names = append(append(names, m.Name), m.Also...)
	}
	return names
}

// ofArchitecture returns the models whose form open_clip calls so, if there are several sets of weights for it.
func ofArchitecture(name string) (names []string) {
	for _, m := range knownModels().Models {
		if slices.ContainsFunc(m.Also, func(n string) bool {
			form, _, ok := strings.Cut(n, "/")
			return ok && strings.EqualFold(form, strings.ReplaceAll(name, "/", "-"))
		}) {
			names = append(names, m.Name)
		}
	}
	return names
}

// unsupported returns the family that is known not to work and that a name belongs to.
func unsupported(name string) (family, bool) {
	if _, ok := knownModel(name); ok {
		return family{}, false
	}
	for _, f := range knownModels().Unsupported {
		if slices.ContainsFunc(f.Match, func(p string) bool { return regexp.MustCompile(p).MatchString(strings.ToLower(name)) }) {
			return f, true
		}
	}
	return family{}, false
}

func newModels() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models [WORD] [--json]",
		Short: "List the models that are known to work, and those that do not",
		Long: `Models lists what is known to work: the name that "vitago download" takes, which is what --model takes
once the model is there, the form of its tower, what it makes features of, the pixels of a side of its
input, the length of an embedding, parameters, bytes to download, licence and languages of the weights, and
where it lies below ` + modelsDir + `/ (or the folder that ` + modelsEnv + ` names). What is not known stays empty. What is not supported
follows, and why. All of it runs on the CPU; nothing here needs or uses a GPU.

WORD leaves what has it in one of its names, family, form, licence or languages; of one model alone all
that is known is printed, with the other names that --model takes, and the sources.

Models that are not in the list may work as well: any CLIP of the forms that docs/models.md lists, under any
owner's name.`,
		Example: `  vitago models
  vitago models laion
  vitago models ViT-B-32/openai
  vitago models siglip
  vitago models --json`,
		Args: wantArgs(0, 1, "one WORD at most"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		z := knownModels()
		if len(args) > 0 {
			if z = z.with(args[0]); len(z.Models)+len(z.Unsupported) == 0 {
				return fmt.Errorf("no model that is known has %q in its names, family, form, licence or languages%s", args[0], didYouMean(nearest(args[0], knownNames())))
			}
		}
		here := z.here()
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), here)
		}
		_, err := cmd.OutOrStdout().Write(here.text())
		return err
	}
	return cmd
}

// with returns what has a word in it, or the model that the word is a name of.
func (z zoo) with(word string) (some zoo) {
	if m, ok := knownModel(hubName(word)); ok {
		return zoo{Models: []model{m}}
	}
	word = asWritten(word)
	has := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(asWritten(s), word) })
	}
	for _, m := range z.Models {
		if has(m.Name, m.Family, m.Form, m.Licence, m.Languages) || has(m.Also...) {
			some.Models = append(some.Models, m)
		}
	}
	for _, f := range z.Unsupported {
		if u, ok := unsupported(word); has(f.Family) || ok && u.Family == f.Family {
			some.Unsupported = append(some.Unsupported, f)
		}
	}
	return some
}

// A shown model is one with the place where it lies.
type shown struct {
	model
	Path pyjson.Name `json:"path,omitempty"` // where it lies
}

// A listing is what the verb shows.
type listing struct {
	Models      []shown  `json:"models"`
	Unsupported []family `json:"unsupported"`
}

// here says of each model where it lies.
func (z zoo) here() listing {
	l := listing{Models: []shown{}, Unsupported: append([]family{}, z.Unsupported...)}
	for _, m := range z.Models {
		path, found := findModel(m.Name)
		if !found {
			path = ""
		}
		l.Models = append(l.Models, shown{m, pyjson.Name(path)})
	}
	return l
}

// text is the listing for people.
func (l listing) text() []byte {
	var b bytes.Buffer
	if len(l.Models) == 1 && len(l.Unsupported) == 0 {
		l.Models[0].write(&b)
		return b.Bytes()
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(l.Models) > 0 {
		fmt.Fprintln(t, "name\tform\tgives\tpixels\tembedding\tparameters\tdownload\tlicence\tlanguages\there")
	}
	for _, m := range l.Models {
		row := []string{m.Name}
		for _, cell := range m.facts() {
			row = append(row, cell[1])
		}
		fmt.Fprintln(t, strings.Join(append(row, string(m.Path)), "\t"))
	}
	t.Flush() // b is a buffer
	if len(l.Models) > 0 && len(l.Unsupported) > 0 {
		b.WriteString("\n")
	}
	if len(l.Unsupported) > 0 {
		fmt.Fprintln(t, "not supported\twhat is otherwise")
	}
	for _, row := range byWhy(l.Unsupported) {
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	t.Flush()
	return blanks.ReplaceAll(b.Bytes(), nil)
}

// byWhy puts families of one reason that follow each other into one row: their names, and why.
func byWhy(all []family) (rows [][2]string) {
	for _, f := range all {
		if last := len(rows) - 1; last >= 0 && rows[last][1] == f.Why {
			rows[last][0] += ", " + f.Family
			continue
		}
		rows = append(rows, [2]string{f.Family, f.Why})
	}
	return rows
}

// blanks are those at the ends of lines.
var blanks = regexp.MustCompile(`(?m) +$`)

// facts are the names and the values of what is known of a model, in the order of the columns.
func (m model) facts() [][2]string {
	number := func(n int64, text func(int64) string) string {
		if n == 0 {
			return ""
		}
		return text(n)
	}
	return [][2]string{
		{"form", m.Form}, {"gives", m.Gives}, {"pixels", number(int64(m.Pixels), count)}, {"embedding", number(int64(m.Embedding), count)},
		{"parameters", number(m.Parameters, millions)}, {"download", number(m.Bytes, megabytes)}, {"licence", m.Licence}, {"languages", m.Languages},
	}
}

// millions writes 427944193 as 428 M.
func millions(n int64) string { return fmt.Sprintf("%.0f M", float64(n)/1e6) }

// write prints all that is known of a model.
func (m shown) write(b *bytes.Buffer) {
	rows := [][2]string{{"name", m.Name}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, [2]string{name, value})
		}
	}
	add("also", strings.Join(m.Also, ", "))
	add("family", m.Family)
	for _, f := range m.facts() {
		add(f[0], f[1])
	}
	add("note", m.Note)
	add("runs on", "CPU")
	add("sources", strings.Join(m.Sources, " "))
	if add("here", string(m.Path)); m.Path == "" {
		p, _ := placeOf(modelFolder(), m.Name)
		add("not here", fmt.Sprintf("\"vitago download %s\" brings it, to %s", m.Name, p.path))
	}
	table(b, rows)
}
