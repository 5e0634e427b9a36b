package pod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// maxManifest is the size of the largest file that is read as a manifest.
const maxManifest = 16 << 20

// manifest is what is of interest in a file for kubectl.
type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name         string `json:"name"`
		GenerateName string `json:"generateName"`
		Namespace    string `json:"namespace"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"` // of a list
}

// ParseManifest reads the target out of a file that kubectl understands: YAML or
// JSON, of which the first object counts, be it in a list (List, PodList and the
// like) or not; empty documents are passed over. It has to be of one of the types
// that ParseTarget knows, in whatever version, and to have a name. namespace is ""
// where the object does not name one. Errors are *TargetError for what is
// in the file, and r's own. No more than 16 MiB are read.
func ParseManifest(r io.Reader) (target Target, namespace string, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	switch {
	case err != nil:
		return Target{}, "", fmt.Errorf("cannot read the manifest: %w", err)
	case len(text) > maxManifest:
		return Target{}, "", badManifest("the manifest is larger than %d MiB", maxManifest>>20)
	}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var document json.RawMessage
		switch err := documents.Decode(&document); {
		case errors.Is(err, io.EOF):
			return Target{}, "", badManifest("the manifest holds no object")
		case err != nil:
			return Target{}, "", badManifest("the manifest is neither YAML nor JSON: %v", err)
		}
		object, err := firstObject(document, manifest{})
		if err != nil {
			return Target{}, "", err
		}
		if object != nil {
			return object.target()
		}
	}
}

// firstObject is nil for an empty document or list. A list's items may leave
// their type to the list.
func firstObject(document json.RawMessage, list manifest) (*manifest, error) {
	if text := bytes.TrimSpace(document); len(text) == 0 || string(text) == "null" {
		return nil, nil // nothing in it, and nothing wrong with it
	}
	m := &manifest{APIVersion: list.APIVersion, Kind: strings.TrimSuffix(list.Kind, "List")}
	if err := json.Unmarshal(document, m); err != nil {
		return nil, badManifest("the manifest holds no Kubernetes object: %v", err)
	}
	if !strings.HasSuffix(m.Kind, "List") {
		return m, nil
	}
	for _, item := range m.Items {
		if object, err := firstObject(item, *m); object != nil || err != nil {
			return object, err
		}
	}
	return nil, nil // an empty list
}

// target is what the object is to ParseTarget.
func (m *manifest) target() (Target, string, error) {
	if m.Kind == "" {
		return Target{}, "", badManifest("the first object of the manifest has no kind")
	}
	group, _, ok := strings.Cut(m.APIVersion, "/")
	if !ok {
		group = ""
	}
	kind, ok := findKind(m.Kind + "." + group)
	if !ok || !strings.EqualFold(kind.name, m.Kind) {
		e := unknownKind(m.Kind)
		e.text = fmt.Sprintf("the first object of the manifest is a %q of %q: no pods can be found by that", m.Kind, m.APIVersion)
		return Target{}, "", e
	}
	if m.Metadata.Name == "" && m.Metadata.GenerateName != "" {
		return Target{}, "", badManifest("the %s in the manifest has no name of its own, only generateName %q", kind.name, m.Metadata.GenerateName)
	}
	if problems := validation.IsDNS1123Label(m.Metadata.Namespace); m.Metadata.Namespace != "" && len(problems) > 0 {
		return Target{}, "", badManifest("%q, in the manifest, cannot be the name of a namespace", m.Metadata.Namespace)
	}
	target, err := ParseTarget(kind.name + "/" + m.Metadata.Name)
	return target, m.Metadata.Namespace, err
}

func badManifest(format string, args ...any) *TargetError {
	return &TargetError{
		text: fmt.Sprintf(format, args...),
		hint: "its first object has to be a pod, or a workload or service with pods, as `kubectl get TYPE NAME -o yaml` shows it",
	}
}
