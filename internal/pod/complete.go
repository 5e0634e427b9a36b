package pod

import (
	"fmt"
	"slices"
	"strings"
)

// CompleteType returns the types that ParseTarget accepts and that begin with
// prefix, each in one spelling: the singular, the short name or the plural,
// whichever matches first.
func CompleteType(prefix string) []string {
	var types []string
	for _, k := range kinds {
		spellings := slices.Concat([]string{k.name}, k.short, []string{k.resource})
		i := slices.IndexFunc(spellings, func(s string) bool { return strings.HasPrefix(s, prefix) })
		if i >= 0 {
			types = append(types, spellings[i])
		}
	}
	return types
}

// ListPath returns the API path that lists the objects of one type in a
// namespace. typ is any spelling that ParseTarget accepts.
func ListPath(typ, namespace string) (string, error) {
	k, ok := findKind(typ)
	if !ok {
		return "", unknownKind(typ)
	}
	root := "/api/v1"
	if k.group != "" {
		root = "/apis/" + k.group + "/v1"
	}
	return fmt.Sprintf("%s/namespaces/%s/%s", root, escapeSegment(namespace), k.resource), nil
}
