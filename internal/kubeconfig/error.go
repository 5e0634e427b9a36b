package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Kind tells the reasons apart for which Load fails.
type Kind int

// The reasons for which Load fails.
const (
	FileNotFound     Kind = iota + 1 // the named file does not exist, nor does any of KUBECONFIG's
	Unreadable                       // a file is there and cannot be read, or is a directory
	Empty                            // the files are there and define nothing
	Malformed                        // a file is not a kubeconfig
	UnknownContext                   // --context or current-context names none that exists
	NoCurrentContext                 // there are contexts, and none is chosen
	UnknownCluster                   // --cluster or the context names none that exists
	UnknownUser                      // --user or the context names none that exists
	NoConfiguration                  // no file, no --server, not in a cluster
	Invalid                          // the chosen entries do not make a connection
	Usage                            // a flag's value is wrong in itself
)

// Error is why there is no Target. Its text and its hint hold no secret and no
// line of a file; names of contexts, clusters and users, and paths, are as they
// were found and may hold control characters.
type Error struct {
	Kind Kind

	text, hint string
	err        error
}

// Error says what failed and why.
func (e *Error) Error() string { return e.text }

// Hint says what to type.
func (e *Error) Hint() string { return e.hint }

// Unwrap gives the error of the operating system or of clientcmd's validation,
// or nil; never a parser's.
func (e *Error) Unwrap() error { return e.err }

func missingFile(file string) error {
	return &Error{
		Kind: FileNotFound, err: fs.ErrNotExist,
		text: fmt.Sprintf("kubeconfig %s does not exist", file),
		hint: missingHint(file, "name a file that exists with --kubeconfig, or leave the flag out to use ~/.kube/config"),
	}
}

func missingList(files []string) error {
	text := fmt.Sprintf("kubeconfig %s, named by KUBECONFIG, does not exist", strings.Join(files, ", "))
	if len(files) != 1 {
		text = fmt.Sprintf("none of the files named by KUBECONFIG exists: %s", strings.Join(files, ", "))
	}
	return &Error{
		Kind: FileNotFound, err: fs.ErrNotExist, text: text,
		hint: missingHint(strings.Join(files, ""), "set KUBECONFIG to a file that exists, or type `unset KUBECONFIG` to use ~/.kube/config"),
	}
}

func missingHint(file, hint string) string {
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
		hint = fmt.Sprintf("type `chmod u+r %s` (as its owner), or name another file with --kubeconfig", quote(file))
	}
	return &Error{Kind: Unreadable, err: err, text: fmt.Sprintf("cannot read kubeconfig %s: %v", file, reason), hint: hint}
}

func directory(file string) error {
	return &Error{
		Kind: Unreadable,
		text: fmt.Sprintf("kubeconfig %s is a directory, not a file", file),
		hint: fmt.Sprintf("name a file in it, such as --kubeconfig %s", quote(filepath.Join(file, "config"))),
	}
}

func empty(files sources) error {
	return &Error{
		Kind: Empty,
		text: fmt.Sprintf("kubeconfig %s is empty: it defines no context", files),
		hint: "fill it by your cluster's login command, or name another file with --kubeconfig",
	}
}

func malformed(file string, err error) error {
	return &Error{
		Kind: Malformed,
		text: fmt.Sprintf("kubeconfig %s is malformed: %s", file, explain(err)),
		hint: fmt.Sprintf("correct it (%s), or name another file with --kubeconfig", quote(file)),
	}
}

func noConfiguration(files sources) error {
	where := "no home directory to look for .kube/config"
	if len(files.files) > 0 {
		where = files.String() + " does not exist"
	}
	return &Error{
		Kind: NoConfiguration,
		text: fmt.Sprintf("no cluster is configured: %s, KUBECONFIG is not set, and this does not run in a cluster's pod", where),
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

func unknownContext(name string, byFlag bool, there []string, files sources) error {
	text := fmt.Sprintf("current-context %q does not exist in kubeconfig %s", name, files)
	if byFlag {
		text = fmt.Sprintf("context %q does not exist in kubeconfig %s", name, files)
	}
	return &Error{Kind: UnknownContext, text: text, hint: oneOf("--context", name, there)}
}

func unknownCluster(name string, there []string, files sources) error {
	return &Error{
		Kind: UnknownCluster,
		text: fmt.Sprintf("cluster %q does not exist in kubeconfig %s", name, files),
		hint: oneOf("--cluster", name, there),
	}
}

func danglingCluster(context, name string, there []string, files sources) error {
	text := fmt.Sprintf("context %q names cluster %q, which kubeconfig %s does not define", context, name, files)
	if name == "" {
		text = fmt.Sprintf("context %q names no cluster", context)
	}
	return &Error{Kind: UnknownCluster, text: text, hint: oneOf("--cluster", name, there)}
}

func unknownUser(name string, there []string, files sources) error {
	return &Error{
		Kind: UnknownUser,
		text: fmt.Sprintf("user %q does not exist in kubeconfig %s", name, files),
		hint: oneOf("--user", name, there),
	}
}

func danglingUser(context, name string, there []string, files sources) error {
	return &Error{
		Kind: UnknownUser,
		text: fmt.Sprintf("context %q names user %q, which kubeconfig %s does not define", context, name, files),
		hint: oneOf("--user", name, there),
	}
}

func noServer(cluster string) error {
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("cluster %q has no server", cluster),
		hint: "give its address with --server https://HOST:PORT",
	}
}

func badServer() error {
	return &Error{
		Kind: Invalid,
		text: "the server's address is neither a URL nor host:port",
		hint: "write it as --server https://HOST:PORT",
	}
}

func badProxy(cluster string) error {
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("cluster %q has a proxy-url that is not an http, https or socks5 URL", cluster),
		hint: fmt.Sprintf("type `kubectl config set-cluster %s --proxy-url=http://HOST:PORT`", quote(cluster)),
	}
}

// badProxyFlag does not repeat the URL: it may hold a password.
func badProxyFlag() error {
	return &Error{Kind: Usage, text: "--proxy-url is not an http, https or socks5 URL", hint: "write it as --proxy-url=http://HOST:PORT"}
}

// noAuthProvider refuses an auth-provider and names the credential plugin that
// replaced it.
func noAuthProvider(user, provider string) error {
	hint := "configure a credential plugin for this user (`exec:` in the kubeconfig), or use --token"
	switch provider {
	case "gcp":
		hint = "install gke-gcloud-auth-plugin and type `gcloud container clusters get-credentials CLUSTER`"
	case "azure":
		hint = "install kubelogin (https://github.com/Azure/kubelogin) and type `kubelogin convert-kubeconfig`"
	}
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("user %q has the auth-provider %q, which kubectl and kshell no longer support; only oidc is supported", user, provider),
		hint: hint,
	}
}

func incompleteAuthProvider(user, fault string) error {
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("the auth-provider oidc of user %q %s", user, fault),
		hint: "log in again with the command that wrote the entry, or correct it in the kubeconfig",
	}
}

func badExtra(pair string) error {
	return &Error{Kind: Usage, text: fmt.Sprintf("--as-user-extra %q has no value", pair), hint: "write it as --as-user-extra KEY=VALUE"}
}

func invalid(err error) error {
	text := strings.TrimPrefix(err.Error(), "invalid configuration: ")
	return &Error{
		Kind: Invalid, err: err,
		text: "the configuration does not make a connection: " + strings.TrimSuffix(text, "."),
		hint: "correct the entry in the kubeconfig, or choose another with --context, --cluster or --user",
	}
}

func badTimeout(value string) error {
	return &Error{
		Kind: Usage,
		text: fmt.Sprintf("--request-timeout %q is not a length of time", value),
		hint: "write it as 30s, 2m or 1h; 0 means no limit",
	}
}

func groupWithoutUser() error {
	return &Error{
		Kind: Usage,
		text: "--as-group, --as-uid and --as-user-extra say nothing without a user to act as",
		hint: "add --as USER",
	}
}

const listed = 10 // names in a hint; more would hide the nearest

// oneOf is the hint to use flag with one of the names, the nearest to wanted first.
func oneOf(flag, wanted string, there []string) string {
	if len(there) == 0 {
		return "there is none to choose: name another file with --kubeconfig"
	}
	if wanted != "" {
		there = nearest(wanted, there)
	}
	quoted := make([]string, 0, listed)
	for _, name := range there[:min(len(there), listed)] {
		quoted = append(quoted, quote(name))
	}
	hint := fmt.Sprintf("type %s with one of: %s", flag, strings.Join(quoted, ", "))
	if more := len(there) - listed; more > 0 {
		hint += fmt.Sprintf(" (and %d more)", more)
	}
	return hint
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// quote makes one word of a POSIX shell.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
