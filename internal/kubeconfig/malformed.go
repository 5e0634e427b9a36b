package kubeconfig

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
)

// The error messages of parsers that kshell may show. Other messages quote the
// file ("unknown anchor 'hunter2' referenced"). For a duplicate entry,
// clientcmd prints both entries with their tokens. The expressions are compiled
// when they are needed, because that takes longer than most of the start of
// kshell.
var (
	yamlError = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^yaml: (?:line (\d+): )?(` + strings.Join([]string{
			`found character that cannot start any token`,
			`mapping values are not allowed in this context`,
			`could not find expected ':'`,
			`did not find expected [a-z ,'<>\]}-]+`,
			`found unexpected end of stream`,
			`found unexpected document indicator`,
			`found a tab character that violates indentation`,
			`block sequence entries are not allowed in this context`,
			`block mapping keys are not allowed in this context`,
			`control characters are not allowed`,
			`invalid leading UTF-8 octet`,
			`invalid trailing UTF-8 octet`,
			`incomplete UTF-8 octet sequence`,
			`found unknown escape character`,
			`found undefined tag handle`,
			`found unknown directive name`,
		}, "|") + `)$`)
	})
	duplicate = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^error converting \*\[\]Named(Cluster|AuthInfo|Context) .*: duplicate name`)
	})
)

// notAMap is the beginning of the error for a file that is not a YAML mapping.
const notAMap = "couldn't get version/kind; json parse error: "

// describeParseError describes why a kubeconfig cannot be decoded. The only
// parts of err in the result are messages that yamlError lists, line numbers
// and names of fields.
func describeParseError(err error) string {
	text := err.Error()
	if m := yamlError().FindStringSubmatch(text); m != nil {
		if m[1] == "" {
			return m[2]
		}
		return "line " + m[1] + ": " + m[2]
	}
	if m := duplicate().FindStringSubmatch(text); m != nil {
		kind := map[string]string{"Cluster": "clusters", "AuthInfo": "users", "Context": "contexts"}[m[1]]
		return "two of its " + kind + " have the same name"
	}
	var wrongType *json.UnmarshalTypeError
	var base64Error base64.CorruptInputError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return "the field " + wrongType.Field + " has the wrong type"
	case errors.As(err, &base64Error):
		return "one of its …-data fields is not base64"
	case runtime.IsNotRegisteredError(err):
		return "it is not of apiVersion v1, kind Config"
	case strings.HasPrefix(text, notAMap):
		return "it is not a YAML mapping"
	default:
		return "it is not a YAML file of the form apiVersion v1, kind Config"
	}
}
