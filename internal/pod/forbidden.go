package pod

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kshell/internal/script"
)

// ForbiddenError means that the server denied a request (403), or that the user
// lacks permissions for requests that were not sent yet. It lists the
// permissions that the user lacks.
type ForbiddenError struct {
	Namespace string // "" means all namespaces, or resources without a namespace
	Denied    []Rule // from DeniedRules; not empty
	// Incomplete is from DeniedRules. If it is not "", the user may have some
	// of these permissions.
	Incomplete string
	User       string // the name of the user, or "" if it is not known or is part of the text of Err
	Err        error  // the error of the denied request, or why the permissions are needed
}

// Error returns the namespace and the denied rules.
func (e *ForbiddenError) Error() string {
	certainty := ""
	if e.Incomplete != "" {
		certainty = " (not for certain, because the server's review of your rights is incomplete)"
	}
	return fmt.Sprintf("not allowed %s%s: %s", inNamespace(e.Namespace), certainty, describeRules(e.Denied))
}

// Hint returns a command with which an administrator can grant the permissions.
func (e *ForbiddenError) Hint() string {
	user := e.User
	if found := refusedUser.FindStringSubmatch(e.Err.Error()); found != nil {
		user = found[1]
	}
	return grantHint(e.Namespace, e.Denied, user)
}

// Unwrap returns the error of the denied request.
func (e *ForbiddenError) Unwrap() error { return e.Err }

// refusedUser matches the name of the user in the message of the API server's
// authorizer: `User "dev" cannot get resource "pods/exec"`.
var refusedUser = regexp.MustCompile(`User "([^"\\]+)" cannot `)

// grant is a set of verbs on one resource.
type grant struct {
	resource string // as in commands of kubectl: "deployments.apps", "pods/exec"
	name     string // of the object; "" means any object
	verbs    []string
}

// grantsOf groups rules by resource and name, in the order of their first
// rules.
func grantsOf(rules []Rule) []grant {
	var grants []grant
	for _, rule := range rules {
		resource := rule.Resource
		if rule.Group != "" {
			resource += "." + rule.Group
		}
		if rule.Subresource != "" {
			resource += "/" + rule.Subresource
		}
		i := slices.IndexFunc(grants, func(g grant) bool { return g.resource == resource && g.name == rule.Name })
		if i < 0 {
			i = len(grants)
			grants = append(grants, grant{resource: resource, name: rule.Name})
		}
		if !slices.Contains(grants[i].verbs, rule.Verb) {
			grants[i].verbs = append(grants[i].verbs, rule.Verb)
		}
	}
	return grants
}

// describeRules returns rules for users: "list pods; get and create pods/exec".
func describeRules(rules []Rule) string {
	grants := grantsOf(rules)
	texts := make([]string, len(grants))
	for i, g := range grants {
		last := len(g.verbs) - 1
		verbs := g.verbs[last]
		if last > 0 {
			verbs = strings.Join(g.verbs[:last], ", ") + " and " + verbs
		}
		texts[i] = verbs + " " + g.resource
		if g.name != "" {
			texts[i] += " " + strconv.Quote(g.name)
		}
	}
	return strings.Join(texts, "; ")
}

// grantHint returns a hint with the command line that creates roles with the
// rules in a namespace and binds them to the user. If user is "", the command
// line does not bind the roles. If namespace is "", it creates cluster roles.
func grantHint(namespace string, rules []Rule, user string) string {
	line := roleCommands(namespace, rules, user)
	if user == "" {
		return "ask an administrator to type this line, and to bind the role to your user: " + line
	}
	return "ask an administrator to type this line: " + line
}

// roleCommands returns the commands, joined with &&, that create roles with
// exactly these rules. "kubectl create role" grants each of its verbs on each
// of its resources, so there is one role for each distinct set of verbs and
// name.
func roleCommands(namespace string, rules []Rule, user string) string {
	type role struct {
		verbs, name string
		resources   []string
	}
	var roles []role
	for _, g := range grantsOf(rules) {
		verbs := strings.Join(g.verbs, ",")
		i := slices.IndexFunc(roles, func(r role) bool { return r.verbs == verbs && r.name == g.name })
		if i < 0 {
			i = len(roles)
			roles = append(roles, role{verbs: verbs, name: g.name})
		}
		roles[i].resources = append(roles[i].resources, g.resource)
	}
	kind, scope := "", []string{"-n", namespace}
	if namespace == "" {
		kind, scope = "cluster", nil
	}
	var commands []string
	for i, r := range roles {
		name := "kshell"
		if len(roles) > 1 {
			name += "-" + strconv.Itoa(i+1)
		}
		words := []string{
			"kubectl", "create", kind + "role", name, "--verb=" + r.verbs, "--resource=" + strings.Join(r.resources, ","),
		}
		if r.name != "" {
			words = append(words, "--resource-name="+r.name)
		}
		commands = append(commands, script.QuoteAll(append(words, scope...)))
		if user != "" {
			bind := []string{"kubectl", "create", kind + "rolebinding", name, "--" + kind + "role=" + name, subject(user)}
			commands = append(commands, script.QuoteAll(append(bind, scope...)))
		}
	}
	return strings.Join(commands, " && ")
}

// subject returns the flag of "kubectl create rolebinding" for a user.
func subject(user string) string {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		return "--serviceaccount=" + account
	}
	return "--user=" + user
}
