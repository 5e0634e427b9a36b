package sandbox

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// markVariable is the environment variable that identifies the processes of a
// container, including those that have left their session.
const markVariable = "SANDBOX_CONTAINER"

// environment returns the environment of the container's processes: the
// variables that a runtime sets (PATH, HOSTNAME, those of the service
// kubernetes, HOME), the variables of the pod, and markVariable. The only
// variable that it takes from the sandbox's own environment is PATH, so that
// the commands of the machine are found.
func (c *container) environment() []string {
	host, port := c.srv.endpoint()
	tcp := "tcp://" + host + ":" + port
	env := []string{
		"PATH=" + c.nodePath() + searchPath(c.root),
		"HOSTNAME=" + c.pod.Name,
		"KUBERNETES_SERVICE_HOST=" + host,
		"KUBERNETES_SERVICE_PORT=" + port,
		"KUBERNETES_SERVICE_PORT_HTTPS=" + port,
		"KUBERNETES_PORT=" + tcp,
		"KUBERNETES_PORT_443_TCP=" + tcp,
		"KUBERNETES_PORT_443_TCP_PROTO=tcp",
		"KUBERNETES_PORT_443_TCP_PORT=" + port,
		"KUBERNETES_PORT_443_TCP_ADDR=" + host,
	}
	for _, v := range c.spec.Env {
		value := v.Value
		if dir, ok := c.mounts[value]; ok { // the mount path does not exist on the machine
			value = dir
		}
		env = setVariable(env, v.Name, value)
	}
	if !hasVariable(env, "HOME") {
		env = append(env, "HOME="+c.dir)
	}
	return setVariable(env, markVariable, c.mark)
}

// ttyEnvironment returns the environment with additional variables for an
// interactive shell, unless the pod sets them.
func (c *container) ttyEnvironment() []string {
	env := slices.Clone(c.env)
	for _, v := range [][2]string{
		{"TERM", "xterm"},
		{"PS1", prompt(c.pod.Name)},
		{"LANG", "C.UTF-8"},
		{"HISTFILE", filepath.Join(c.dir, ".history")},
	} {
		if !hasVariable(env, v[0]) {
			env = append(env, v[0]+"="+v[1])
		}
	}
	return env
}

func hasVariable(env []string, name string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
}

func variable(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

func setVariable(env []string, name, value string) []string {
	for i, v := range env {
		if strings.HasPrefix(v, name+"=") {
			env[i] = name + "=" + value
			return env
		}
	}
	return append(env, name+"="+value)
}

// endpoint returns the host and the port of the server.
func (s *Server) endpoint() (host, port string) {
	u, err := url.Parse(s.url)
	if err != nil {
		return "127.0.0.1", "443"
	}
	if port = u.Port(); port == "" {
		port = "443"
	}
	return u.Hostname(), port
}
