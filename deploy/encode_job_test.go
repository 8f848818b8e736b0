package deploy

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// encodeJob is the file of the sharded encode.
const encodeJob = "encode-job.yaml"

// variants are the Job as it stands, and with an init container in the place of the volume.
func variants(t *testing.T) map[string]*batch.Job {
	t.Helper()
	file, err := os.ReadFile("kubernetes/" + encodeJob)
	if err != nil {
		t.Fatal(err)
	}
	volume := regexp.MustCompile(`(?m)^.*claimName: vitago-models.*\n`)
	if n := len(volume.FindAll(file, -1)); n != 1 {
		t.Fatalf("%d lines have the volume of models, want 1", n)
	}
	downloads := volume.ReplaceAll(bytes.ReplaceAll(file, []byte("# | "), nil), nil)
	all := map[string]*batch.Job{}
	for name, text := range map[string][]byte{"volume": file, "download": downloads} {
		all[name] = get[*batch.Job](t, decode(t, strict(t), encodeJob+", "+name, text), "Job vitago-encode")
	}
	return all
}

// The rules for a Job that a schema does not have are kept, by pkg/apis/batch/validation of Kubernetes 1.37; pods have what they need and no right more.
func TestEncodeJob(t *testing.T) {
	servers := readManifests(t)
	for name, job := range variants(t) {
		t.Run(name, func(t *testing.T) {
			s := job.Spec
			pod := s.Template.Spec
			c := pod.Containers[0]
			if *s.CompletionMode != batch.IndexedCompletion || *s.Completions < 1 || *s.Parallelism > 100_000 || *s.MaxFailedIndexes > *s.Completions || s.BackoffLimit != nil || *s.BackoffLimitPerIndex < 1 {
				t.Errorf("%+v", s)
			}
			if pod.RestartPolicy != core.RestartPolicyNever || *s.PodReplacementPolicy != batch.Failed {
				t.Errorf("restart %q, replacement %q: a policy for failures wants Never and Failed", pod.RestartPolicy, *s.PodReplacementPolicy)
			}
			seen := map[int32]batch.PodFailurePolicyAction{}
			for i, r := range s.PodFailurePolicy.Rules {
				if (r.OnExitCodes == nil) == (len(r.OnPodConditions) == 0) {
					t.Errorf("rule %d has one of exit codes and conditions: %+v", i, r)
				}
				if r.OnPodConditions != nil && (i > 0 || r.Action != batch.PodFailurePolicyActionIgnore || r.OnPodConditions[0].Type != core.DisruptionTarget || r.OnPodConditions[0].Status != core.ConditionTrue) {
					t.Errorf("rule %d: %+v, want a disruption to be ignored, before all others", i, r)
				}
				if e := r.OnExitCodes; e != nil {
					if e.Operator != batch.PodFailurePolicyOnExitCodesOpIn || *e.ContainerName != c.Name || !slices.IsSorted(e.Values) || slices.Contains(e.Values, 0) {
						t.Errorf("rule %d: %+v", i, e)
					}
					for _, v := range e.Values {
						seen[v] = r.Action
					}
				}
			}
			if seen[2] != batch.PodFailurePolicyActionFailIndex || seen[42] != batch.PodFailurePolicyActionFailIndex || seen[1] != batch.PodFailurePolicyActionCount || len(seen) != 3 {
				t.Errorf("exit statuses: %v, want 2 and 42 to fail the index, and 1 to count", seen)
			}
			if part := slices.Index(c.Args, "--part"); part < 0 || c.Args[part+1] != "$(JOB_COMPLETION_INDEX)/"+strconv.Itoa(int(*s.Completions)) {
				t.Errorf("arguments %q, want a part for each of %d indexes", c.Args, *s.Completions)
			}

			// The servers' network policy, services and budget are not for these pods.
			labels := s.Template.Labels
			for what, selector := range map[string]*meta.LabelSelector{
				"deployment": get[*apps.Deployment](t, servers, "Deployment vitago").Spec.Selector,
				"budget":     get[*policy.PodDisruptionBudget](t, servers, "PodDisruptionBudget vitago").Spec.Selector,
				"policy":     &get[*networking.NetworkPolicy](t, servers, "NetworkPolicy vitago").Spec.PodSelector,
				"service":    {MatchLabels: get[*core.Service](t, servers, "Service vitago").Spec.Selector},
			} {
				m, err := meta.LabelSelectorAsSelector(selector)
				if err != nil {
					t.Fatal(err)
				}
				if m.Matches(set(labels)) {
					t.Errorf("the %s selects %v", what, labels)
				}
			}
			if a := get[*core.ServiceAccount](t, servers, "ServiceAccount "+pod.ServiceAccountName); *a.AutomountServiceAccountToken || *pod.AutomountServiceAccountToken {
				t.Error("pods have a token for the cluster's API")
			}
			if p := pod.SecurityContext; !*p.RunAsNonRoot || *p.RunAsUser != 65532 || p.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault || pod.HostNetwork || pod.HostPID || pod.HostIPC {
				t.Errorf("the pod's security: %+v", p)
			}
			volumes := map[string]core.Volume{}
			for _, v := range pod.Volumes {
				volumes[v.Name] = v
			}
			for _, c := range append(pod.InitContainers, c) {
				if p := c.SecurityContext; !*p.ReadOnlyRootFilesystem || *p.AllowPrivilegeEscalation || !slices.Equal(p.Capabilities.Drop, []core.Capability{"ALL"}) || len(p.Capabilities.Add) > 0 {
					t.Errorf("%s: security %+v", c.Name, p)
				}
				for _, r := range []core.ResourceName{core.ResourceCPU, core.ResourceMemory} {
					request, limit := c.Resources.Requests[r], c.Resources.Limits[r]
					if request.IsZero() || limit.Cmp(request) < 0 {
						t.Errorf("%s, %s: %v requested of at most %v", c.Name, r, &request, &limit)
					}
				}
				for _, m := range c.VolumeMounts {
					v, ok := volumes[m.Name]
					if !ok || v.PersistentVolumeClaim != nil && !m.ReadOnly {
						t.Errorf("%s mounts %+v of %+v", c.Name, m, v)
					}
				}
			}
			if v := volumes["models"]; (v.EmptyDir != nil) != (len(pod.InitContainers) == 1) || (v.PersistentVolumeClaim != nil) != (len(pod.InitContainers) == 0) {
				t.Errorf("models are on %+v with %d init containers", v, len(pod.InitContainers))
			}
			if v := volumes["models"].PersistentVolumeClaim; v != nil {
				get[*core.PersistentVolumeClaim](t, servers, "PersistentVolumeClaim "+v.ClaimName)
			}
			for _, c := range pod.InitContainers {
				if !strings.Contains(strings.Join(pod.Containers[0].Args, " "), "--model "+c.Args[1]+" ") {
					t.Errorf("%q are downloaded, and %q encodes", c.Args, pod.Containers[0].Args)
				}
			}
		})
	}
}
