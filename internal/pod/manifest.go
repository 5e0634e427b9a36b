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

// maxManifest is the size of the largest manifest that is read, in bytes.
const maxManifest = 16 << 20

// manifest is the part of a Kubernetes object that ParseManifest uses.
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

// ParseManifest reads the target from a manifest as kubectl does: YAML or JSON,
// at most 16 MiB. Only the first object is used, which may be an item of a list
// (List, PodList); empty documents are skipped. The object must have a name and
// one of the types of ParseTarget, in any API version. namespace is "" if the
// object does not have one. The error is a *TargetError for invalid contents,
// or wraps the error of r.
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
			return Target{}, "", badManifest("the manifest contains no object")
		case err != nil:
			return Target{}, "", notManifest(err)
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

// firstObject returns the first object in a document, or nil for an empty
// document or list. If document is an item of a list and has no type of its
// own, it inherits the type from list.
func firstObject(document json.RawMessage, list manifest) (*manifest, error) {
	if text := bytes.TrimSpace(document); len(text) == 0 || string(text) == "null" {
		return nil, nil // empty, and no error
	}
	m := &manifest{APIVersion: list.APIVersion, Kind: strings.TrimSuffix(list.Kind, "List")}
	if err := json.Unmarshal(document, m); err != nil {
		return nil, notManifest(nil)
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

// target returns the target and the namespace that the object names.
func (m *manifest) target() (Target, string, error) {
	if m.Kind == "" {
		return Target{}, "", notManifest(nil)
	}
	group, _, ok := strings.Cut(m.APIVersion, "/")
	if !ok {
		group = ""
	}
	kind, ok := findKind(m.Kind + "." + group)
	if !ok || !strings.EqualFold(kind.name, m.Kind) {
		e := unknownKind(m.Kind)
		e.text = fmt.Sprintf("the first object of the manifest has type %q of %q, which is not supported",
			m.Kind, m.APIVersion)
		return Target{}, "", e
	}
	switch {
	case m.Metadata.Name != "":
	case m.Metadata.GenerateName != "":
		return Target{}, "", badManifest("the %s in the manifest has no name, only generateName %q",
			kind.name, m.Metadata.GenerateName)
	default:
		return Target{}, "", badManifest("the %s in the manifest has no name", kind.name)
	}
	if problems := validation.IsDNS1123Label(m.Metadata.Namespace); m.Metadata.Namespace != "" && len(problems) > 0 {
		return Target{}, "", badManifest("the manifest has an invalid namespace name, %q", m.Metadata.Namespace)
	}
	target, err := ParseTarget(kind.name + "/" + m.Metadata.Name)
	return target, m.Metadata.Namespace, err
}

// notManifest returns the error for a text that is not a Kubernetes object.
// cause is the error of the parser, or nil if the text is valid YAML or JSON.
func notManifest(cause error) *TargetError {
	e := badManifest("is not a manifest (YAML or JSON with kind and metadata)")
	if cause != nil {
		e.text += ": " + strings.TrimPrefix(cause.Error(), "error converting YAML to JSON: ")
	}
	return e
}

func badManifest(format string, args ...any) *TargetError {
	return &TargetError{
		text: fmt.Sprintf(format, args...),
		hint: "the first object must be a pod, or a workload or service with pods, " +
			"as in the output of `kubectl get TYPE NAME -o yaml`",
	}
}
