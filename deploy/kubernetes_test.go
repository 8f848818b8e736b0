package deploy

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manifests are the objects in the folder kubernetes, by kind and name.
type manifests map[string]runtime.Object

// strict decodes as a server would that takes no field that it does not know.
func strict(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apps.AddToScheme, autoscaling.AddToScheme, batch.AddToScheme, core.AddToScheme, networking.AddToScheme, policy.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
}

// readManifests decodes every document as a server would that takes no field that it does not know.
func readManifests(t *testing.T) manifests {
	t.Helper()
	decoder := strict(t)
	paths, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := manifests{}
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := "vitago"
		if filepath.Base(path) == encodeJob {
			name = "vitago-encode" // kubectl apply -l does not take them with the servers
		}
		for key, object := range decode(t, decoder, path, file) {
			if all[key] != nil {
				t.Errorf("%s: %s is there twice", path, key)
			}
			if labels := object.(meta.Object).GetLabels(); labels[nameLabel] != name {
				t.Errorf("%s: %s has labels %v", path, key, labels)
			}
			all[key] = object
		}
	}
	return all
}

// decode returns the objects of a file.
func decode(t *testing.T, decoder runtime.Decoder, path string, file []byte) manifests {
	t.Helper()
	all := manifests{}
	for r := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(file))); ; {
		document := make([]byte, len(file))
		n, err := r.Read(document)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		object, kind, err := decoder.Decode(document[:n], nil, nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		key := kind.Kind + " " + object.(meta.Object).GetName()
		if all[key] != nil {
			t.Errorf("%s: %s is there twice", path, key)
		}
		all[key] = object
	}
}

const nameLabel = "app.kubernetes.io/name"

// get returns an object, which has to be there.
func get[T runtime.Object](t *testing.T, all manifests, key string) T {
	t.Helper()
	v, ok := all[key].(T)
	if !ok {
		t.Fatalf("no %s among %v", key, slices.Sorted(maps.Keys(all)))
	}
	return v
}

// selects says whether a selector is meant for our servers.
func selects(t *testing.T, what string, s *meta.LabelSelector, labels map[string]string) {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	if selector.Empty() || !selector.Matches(set(labels)) {
		t.Errorf("%s selects %v, and the servers have %v", what, selector, labels)
	}
}

// A set is labels as selectors ask for them.
type set map[string]string

func (s set) Has(k string) bool              { _, ok := s[k]; return ok }
func (s set) Get(k string) string            { return s[k] }
func (s set) Lookup(k string) (string, bool) { v, ok := s[k]; return v, ok }

// The manifests are ones that Kubernetes takes, agree with each other, and give a server no right that it does not need.
func TestManifests(t *testing.T) {
	all := readManifests(t)
	deployment := get[*apps.Deployment](t, all, "Deployment vitago")
	labels := deployment.Spec.Template.Labels
	pod := deployment.Spec.Template.Spec
	c := pod.Containers[0]

	selects(t, "the deployment", deployment.Spec.Selector, labels)
	selects(t, "the budget", get[*policy.PodDisruptionBudget](t, all, "PodDisruptionBudget vitago").Spec.Selector, labels)
	ports := map[string]int32{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	has := func(what string, port intstr.IntOrString) {
		if _, ok := ports[port.StrVal]; !ok {
			t.Errorf("%s names port %q, want one of %v", what, port.StrVal, ports)
		}
	}
	network := get[*networking.NetworkPolicy](t, all, "NetworkPolicy vitago")
	selects(t, "the policy", &network.Spec.PodSelector, labels)
	for _, rule := range network.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) == 0 {
			t.Errorf("a rule lets everybody in: %+v", rule)
		}
		for _, p := range rule.Ports {
			has("the policy", *p.Port)
		}
	}
	if len(network.Spec.Egress) > 0 || !slices.Contains(network.Spec.PolicyTypes, networking.PolicyTypeEgress) {
		t.Errorf("servers may ask others: %+v", network.Spec)
	}
	for _, name := range []string{"vitago", "vitago-admin"} {
		s := get[*core.Service](t, all, "Service "+name)
		selects(t, name, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, labels)
		for _, p := range s.Spec.Ports {
			has(name, p.TargetPort)
		}
	}
	scaler := get[*autoscaling.HorizontalPodAutoscaler](t, all, "HorizontalPodAutoscaler vitago").Spec
	if scaler.ScaleTargetRef != (autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment.Name}) || deployment.Spec.Replicas != nil {
		t.Errorf("the autoscaler scales %+v, and the deployment has %v replicas of its own", scaler.ScaleTargetRef, deployment.Spec.Replicas)
	}

	// What the standard of Kubernetes for pods calls restricted, and more.
	if s := pod.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser != 65532 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's security: %+v", s)
	}
	if s := c.SecurityContext; !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		t.Errorf("the container's security: %+v", s)
	}
	if *pod.AutomountServiceAccountToken || pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the pod has rights in the cluster or on the host")
	}
	for _, r := range []core.ResourceName{core.ResourceCPU, core.ResourceMemory} {
		request, limit := c.Resources.Requests[r], c.Resources.Limits[r]
		if request.IsZero() || limit.Cmp(request) < 0 {
			t.Errorf("%s: %v requested of at most %v", r, &request, &limit)
		}
	}
	for name, p := range map[string]*core.Probe{"/readyz startup": c.StartupProbe, "/readyz readiness": c.ReadinessProbe, "/healthz liveness": c.LivenessProbe} {
		path, _, _ := strings.Cut(name, " ")
		if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != path {
			t.Errorf("the probe %s is %+v", name, p)
			continue
		}
		has(name, p.HTTPGet.Port)
	}

	// Every volume is mounted, for reading, and what it is made of is there.
	mounts := map[string]string{}
	for _, m := range c.VolumeMounts {
		if mounts[m.Name] = m.MountPath; !m.ReadOnly {
			t.Errorf("%s is mounted to be written", m.Name)
		}
	}
	for _, v := range pod.Volumes {
		if mounts[v.Name] == "" {
			t.Errorf("%s is mounted nowhere", v.Name)
		}
		switch {
		case v.ConfigMap != nil:
			get[*core.ConfigMap](t, all, "ConfigMap "+v.ConfigMap.Name)
		case v.Secret != nil:
			get[*core.Secret](t, all, "Secret "+v.Secret.SecretName)
		case v.PersistentVolumeClaim != nil:
			get[*core.PersistentVolumeClaim](t, all, "PersistentVolumeClaim "+v.PersistentVolumeClaim.ClaimName)
		default:
			t.Errorf("%s is of nothing that is here", v.Name)
		}
	}
}

// What is not right is seen: a field that Kubernetes does not know, and a quantity that is none.
func TestStrict(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := apps.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	file, err := os.ReadFile("kubernetes/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for old, changed := range map[string]string{"readOnlyRootFilesystem:": "readOnlyRootFileSystem:", "memory: 2Gi": "memory: 2Gib", "apps/v1": "apps/v2"} {
		if _, _, err := decoder.Decode(bytes.Replace(file, []byte(old), []byte(changed), 1), nil, nil); err == nil {
			t.Errorf("%s in the place of %s is taken", changed, old)
		}
	}
	if _, _, err := decoder.Decode(file, nil, nil); err != nil {
		t.Error(err)
	}
}
