package pod

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The canonical kinds of Target.Kind.
const (
	kindPod         = "pod"
	kindDeployment  = "deployment"
	kindReplicaSet  = "replicaset"
	kindStatefulSet = "statefulset"
	kindDaemonSet   = "daemonset"
	kindJob         = "job"
	kindController  = "replicationcontroller"
	kindService     = "service"
)

type kind struct {
	name     string
	resource string   // plural, as in API paths
	group    string   // "" is core; every version is v1
	short    []string // kubectl's
}

// kinds is everything that Find can resolve, in the order in which it is listed
// to the user.
var kinds = []kind{
	{kindPod, "pods", "", []string{"po"}},
	{kindDeployment, "deployments", "apps", []string{"deploy"}},
	{kindReplicaSet, "replicasets", "apps", []string{"rs"}},
	{kindStatefulSet, "statefulsets", "apps", []string{"sts"}},
	{kindDaemonSet, "daemonsets", "apps", []string{"ds"}},
	{kindJob, "jobs", "batch", nil},
	{kindController, "replicationcontrollers", "", []string{"rc"}},
	{kindService, "services", "", []string{"svc"}},
}

// Target is an object that is, or leads to, pods.
type Target struct {
	Kind string // singular and lower case, "pod" to "service"
	Name string
}

// String is the target as it can be typed: "deployment/web".
func (t Target) String() string { return t.Kind + "/" + t.Name }

// ParseTarget reads POD or TYPE/NAME. TYPE is kubectl's: singular, plural or
// short, in any case, with or without its group ("deployments.apps",
// "deployments.v1.apps"). Every error is a *TargetError.
func ParseTarget(arg string) (Target, error) {
	typed, name, slash := strings.Cut(arg, "/")
	if !slash {
		typed, name = kindPod, arg
	}
	kind, ok := findKind(typed)
	if !ok {
		return Target{}, unknownKind(typed)
	}
	if name == "" {
		return Target{}, &TargetError{
			text: fmt.Sprintf("%q names no %s", arg, kind.name),
			hint: fmt.Sprintf("type POD or TYPE/NAME, such as %s/web", kind.name),
		}
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return Target{}, &TargetError{
			text: fmt.Sprintf("%q cannot be the name of a %s", name, kind.name),
			hint: "names consist of a-z, 0-9, '-' and '.', and begin and end with a letter or digit; type POD or TYPE/NAME",
		}
	}
	return Target{Kind: kind.name, Name: name}, nil
}

func findKind(typed string) (kind, bool) {
	typed, group, qualified := strings.Cut(strings.ToLower(typed), ".")
	for _, k := range kinds {
		if typed != k.name && typed != k.resource && !slices.Contains(k.short, typed) {
			continue
		}
		return k, !qualified || group == k.group || group == "v1."+k.group
	}
	return kind{}, false
}

func unknownKind(typed string) *TargetError {
	known := make([]string, 0, len(kinds))
	for _, k := range kinds {
		for _, short := range k.short {
			k.name += " (" + short + ")"
		}
		known = append(known, k.name)
	}
	return &TargetError{
		text: fmt.Sprintf("no pods can be found by the type %q", typed),
		hint: "the types are " + strings.Join(known, ", "),
	}
}

// TargetError is an argument that cannot be a Target: a mistake in usage.
type TargetError struct {
	text, hint string
}

// Error says what is wrong with the argument.
func (e *TargetError) Error() string { return e.text }

// Hint says what to type.
func (e *TargetError) Hint() string { return e.hint }
