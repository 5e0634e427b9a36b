package nodeshell

import (
	"slices"
	"testing"

	"kshell/internal/pod"
)

func TestRequiredRules_AttachCreatesNoPod(t *testing.T) {
	creates := func(r pod.Rule) bool { return r.Verb == "create" && r.Resource == "pods" && r.Subresource == "" }
	for _, attach := range []bool{true, false} {
		if got := slices.ContainsFunc(RequiredRules(true, attach), creates); got == attach {
			t.Errorf("attach %v: the right to create pods is required: %v", attach, got)
		}
	}
}
