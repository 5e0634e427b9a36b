package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/script"
	"kshell/internal/similar"
)

// Kind classifies the errors of Load.
type Kind int

// The kinds of errors.
const (
	FileNotFound     Kind = iota + 1 // the file of --kubeconfig is missing, or all files of KUBECONFIG are missing
	Unreadable                       // a file exists and cannot be read, or is a directory
	Empty                            // at least one file exists, and no file defines a context
	Malformed                        // a file is not a kubeconfig
	UnknownContext                   // --context or current-context names an undefined context
	NoCurrentContext                 // there are contexts, and no current-context
	UnknownCluster                   // --cluster or the context names an undefined cluster
	UnknownUser                      // --user or the context names an undefined user
	NoConfiguration                  // no kubeconfig exists, and neither --server nor a service account replaces it
	Invalid                          // the selected entries are invalid
	Usage                            // the value of a flag is invalid
)

// Error is an error of Load. Its text and hint contain no secret and no line of
// a file. They contain paths, and names of contexts, clusters and users, which
// may have control characters: callers must clean them before printing.
type Error struct {
	Kind Kind

	text, hint string
	err        error
}

// Error returns what failed and why.
func (e *Error) Error() string { return e.text }

// Hint tells the user what to type. It is never empty.
func (e *Error) Hint() string { return e.hint }

// Unwrap returns an error of the operating system or of clientcmd's validation,
// or nil. It never returns an error of a parser.
func (e *Error) Unwrap() error { return e.err }

func fileNotFound(file string) error {
	return &Error{
		Kind: FileNotFound, err: fs.ErrNotExist,
		text: fmt.Sprintf("kubeconfig %s does not exist", file),
		hint: notFoundHint(file, "name a file that exists with --kubeconfig, or omit the flag to use ~/.kube/config"),
	}
}

func noFileListed(value string) error {
	return &Error{
		Kind: FileNotFound, err: fs.ErrNotExist,
		text: fmt.Sprintf("KUBECONFIG is %q, which names no file", value),
		hint: "set KUBECONFIG to a file that exists, or type `unset KUBECONFIG` to use ~/.kube/config",
	}
}

func listNotFound(files []string) error {
	if len(files) == 0 {
		return noFileListed(os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	}
	text := fmt.Sprintf("kubeconfig %s, named by KUBECONFIG, does not exist", strings.Join(files, ", "))
	if len(files) != 1 {
		text = fmt.Sprintf("none of the files named by KUBECONFIG exists: %s", strings.Join(files, ", "))
	}
	return &Error{
		Kind: FileNotFound, err: fs.ErrNotExist, text: text,
		hint: notFoundHint(strings.Join(files, ""),
			"set KUBECONFIG to a file that exists, or type `unset KUBECONFIG` to use ~/.kube/config"),
	}
}

func notFoundHint(file, hint string) string {
	if strings.HasPrefix(file, "~") {
		return "the shell has not replaced the ~ (it was quoted): write $HOME instead"
	}
	return hint
}

func unreadable(file string, err error) error {
	reason := err
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		reason = pathError.Err
	}
	hint := "name another file with --kubeconfig"
	if errors.Is(err, fs.ErrPermission) {
		hint = fmt.Sprintf("type `chmod u+r %s` (as its owner), or name another file with --kubeconfig", script.Quote(file))
	}
	return &Error{Kind: Unreadable, err: err, text: fmt.Sprintf("cannot read kubeconfig %s: %v", file, reason), hint: hint}
}

func directory(file string) error {
	return &Error{
		Kind: Unreadable,
		text: fmt.Sprintf("kubeconfig %s is a directory, not a file", file),
		hint: fmt.Sprintf("name a file in it, such as --kubeconfig %s", script.Quote(filepath.Join(file, "config"))),
	}
}

func empty(files sources) error {
	return &Error{
		Kind: Empty,
		text: fmt.Sprintf("kubeconfig %s is empty: it defines no context", files),
		hint: "run the login command of your cluster to fill it, or name another file with --kubeconfig",
	}
}

func malformed(file string, err error) error {
	return &Error{
		Kind: Malformed,
		text: fmt.Sprintf("kubeconfig %s is malformed: %s", file, describeParseError(err)),
		hint: fmt.Sprintf("correct it (%s), or name another file with --kubeconfig", script.Quote(file)),
	}
}

func noConfiguration(files sources) error {
	where := "no home directory to look for .kube/config"
	if len(files.files) > 0 {
		where = files.String() + " does not exist"
	}
	return &Error{
		Kind: NoConfiguration,
		text: fmt.Sprintf("no cluster is configured: %s, KUBECONFIG is not set, and kshell does not run in a pod", where),
		hint: "type --kubeconfig FILE or `export KUBECONFIG=FILE`, or --server URL --token TOKEN",
	}
}

func noCurrentContext(files sources, raw *clientcmdapi.Config) error {
	return &Error{
		Kind: NoCurrentContext,
		text: fmt.Sprintf("kubeconfig %s has contexts but no current-context", files),
		hint: oneOf("--context", "", slices.Sorted(maps.Keys(raw.Contexts))),
	}
}

func unknownContext(name string, byFlag bool, names []string, files sources) error {
	text := fmt.Sprintf("current-context %q does not exist in kubeconfig %s", name, files)
	if byFlag {
		text = fmt.Sprintf("context %q does not exist in kubeconfig %s", name, files)
	}
	return &Error{Kind: UnknownContext, text: text, hint: oneOf("--context", name, names)}
}

func unknownCluster(name string, names []string, files sources) error {
	return &Error{
		Kind: UnknownCluster,
		text: fmt.Sprintf("cluster %q does not exist in kubeconfig %s", name, files),
		hint: oneOf("--cluster", name, names),
	}
}

func undefinedCluster(context, name string, names []string, files sources) error {
	text := fmt.Sprintf("context %q names cluster %q, which kubeconfig %s does not define", context, name, files)
	if name == "" {
		text = fmt.Sprintf("context %q has no cluster", context)
	}
	return &Error{Kind: UnknownCluster, text: text, hint: oneOf("--cluster", name, names)}
}

func unknownUser(name string, names []string, files sources) error {
	return &Error{
		Kind: UnknownUser,
		text: fmt.Sprintf("user %q does not exist in kubeconfig %s", name, files),
		hint: oneOf("--user", name, names),
	}
}

func undefinedUser(context, name string, names []string, files sources) error {
	return &Error{
		Kind: UnknownUser,
		text: fmt.Sprintf("context %q names user %q, which kubeconfig %s does not define", context, name, files),
		hint: oneOf("--user", name, names),
	}
}

func noServer(cluster string) error {
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("cluster %q has no server", cluster),
		hint: "give its address with --server https://HOST:PORT",
	}
}

// unsupportedAuthProvider is the error for an auth-provider other than oidc.
// For gcp and azure, the hint names the credential plugin that replaces the
// auth-provider.
func unsupportedAuthProvider(user, provider string) error {
	hint := "configure a credential plugin for this user (`exec:` in the kubeconfig), or use --token"
	switch provider {
	case "gcp":
		hint = "install gke-gcloud-auth-plugin and type `gcloud container clusters get-credentials CLUSTER`"
	case "azure":
		hint = "install kubelogin (https://github.com/Azure/kubelogin) and type `kubelogin convert-kubeconfig`"
	}
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("user %q has the auth-provider %q, which kubectl and kshell no longer support; "+
			"only oidc is supported", user, provider),
		hint: hint,
	}
}

func incompleteAuthProvider(user, problem string) error {
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("the auth-provider oidc of user %q %s", user, problem),
		hint: "log in again with the command that wrote the entry, or correct it in the kubeconfig",
	}
}

// removedAPIVersion is the error for a credential plugin with an apiVersion that
// client-go does not support. The hint names the tool to update.
func removedAPIVersion(where location, command, version string) error {
	hint := fmt.Sprintf("update %s, and log in again with the command that wrote the entry", command)
	switch filepath.Base(command) {
	case "aws", "aws-iam-authenticator":
		hint = "update the AWS CLI (aws), and type `aws eks update-kubeconfig --name CLUSTER`"
	case "gcloud", "gke-gcloud-auth-plugin":
		hint = "update gke-gcloud-auth-plugin, and type `gcloud container clusters get-credentials CLUSTER`"
	case "kubelogin":
		hint = "update kubelogin, and type `kubelogin convert-kubeconfig`"
	case "doctl":
		hint = "update doctl, and type `doctl kubernetes cluster kubeconfig save CLUSTER`"
	}
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("the credential plugin %s of %s has the apiVersion %q, which kubectl and kshell "+
			"do not support: only v1 and v1beta1 are supported", command, where.entry, version),
		hint: hint,
	}
}

func badExtra(pair string) error {
	return &Error{
		Kind: Usage,
		text: fmt.Sprintf("--as-user-extra %q has no value", pair),
		hint: "write it as --as-user-extra KEY=VALUE",
	}
}

func invalid(err error) error {
	text := strings.TrimPrefix(err.Error(), "invalid configuration: ")
	return &Error{
		Kind: Invalid, err: err,
		text: "the configuration is invalid: " + strings.TrimSuffix(text, "."),
		hint: "correct the entry in the kubeconfig, or select another with --context, --cluster or --user",
	}
}

func badTimeout(problem string) error {
	return &Error{
		Kind: Usage,
		text: "--request-timeout " + problem,
		hint: "write it as 30s, 2m or 1h; 0 means no limit",
	}
}

func groupWithoutUser() error {
	return &Error{
		Kind: Usage,
		text: "--as-group, --as-uid and --as-user-extra need a user to impersonate",
		hint: "add --as USER",
	}
}

const maxListed = 10 // names in a hint

// oneOf returns a hint that lists names as the possible values of a flag. If
// wanted is not "", the names that are most similar to wanted come first, and a
// line before the list names those that the user may have meant.
func oneOf(flag, wanted string, names []string) string {
	if len(names) == 0 {
		kind := strings.TrimPrefix(flag, "--")
		return fmt.Sprintf("the kubeconfig defines no %ss: name another file with --kubeconfig", kind)
	}
	if wanted != "" {
		names = similar.Sort(wanted, names)
	}
	quoted := make([]string, 0, maxListed)
	for _, name := range names[:min(len(names), maxListed)] {
		quoted = append(quoted, script.Quote(name))
	}
	hint := fmt.Sprintf("type %s with one of: %s", flag, strings.Join(quoted, ", "))
	if more := len(names) - maxListed; more > 0 {
		hint += fmt.Sprintf(" (and %d more)", more)
	}
	if question := similar.DidYouMean(wanted, names, flag+" "); question != "" {
		return question + "\n" + hint
	}
	return hint
}
