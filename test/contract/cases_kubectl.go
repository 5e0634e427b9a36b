package contract

import "strings"

const noZero = "kubectl rejects --pod-running-timeout=0; for kshell it means not to wait"

const fromFile = "kubectl takes the list of containers from the file; kshell takes it from the server"

// kubectlCases returns cases for each way to write a kubectl exec command line,
// and for results that scripts depend on.
func kubectlCases() []Case {
	hi := func(args ...string) Case {
		return Case{Name: "kubectl: " + strings.Join(args, " "), Args: append(args, "--", "echo", "hi"), Out: "hi\n"}
	}
	cat := func(args ...string) Case {
		return Case{
			Name: "kubectl: " + strings.Join(args, " ") + " of an input", Args: append(args, "--", "cat"), In: "in\n",
			Out: "in\n",
		}
	}
	fails := func(name string, code int, why string, err string, args ...string) Case {
		return Case{Name: name, Args: args, Code: code, Err: []string{err}, Differs: why}
	}
	all := []Case{
		// Names of pods and workloads.
		hi("pods/web"), hi("po/web"), hi("POD/web"), hi("pod.v1./web"),
		hi("deployment/web"), hi("deployments/web"), hi("deploy.apps/web"), hi("deployment.v1.apps/web"),
		hi("Deployment/web"),
		hi("statefulset/db"), hi("statefulsets.apps/db"), hi("daemonset/agent"), hi("daemonsets/agent"),
		hi("service/web"), hi("services/web"),

		// Manifests, read from a pipe.
		{
			Name: "kubectl: a pod's file", Args: []string{"-f", "/dev/stdin", "--", "echo", "hi"},
			In:  "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: x}]}}\n",
			Out: "hi\n", Quiet: true,
		},
		{
			Name: "kubectl: a pod's file without containers", Args: []string{"-f", "/dev/stdin", "--", "echo", "hi"},
			In: "{apiVersion: v1, kind: Pod, metadata: {name: web}}\n", Out: "hi\n", Quiet: true, Differs: fromFile,
		},
		// Without a selector in the file, kubectl uses any pod of the
		// namespace.
		{
			Name: "kubectl: a workload's file", Args: []string{"--filename=/dev/stdin", "--", "echo", "hi"},
			In:  "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {selector: {matchLabels: {app: db}}}}\n",
			Out: "hi\n",
		},
		{
			Name: "kubectl: a file and a container", Args: []string{"-f", "/dev/stdin", "-c", "b", "--", "echo", "hi"},
			In: `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "multi", "namespace": "default"}, ` +
				`"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]}}`,
			Out: "hi\n", Quiet: true,
		},

		// Spellings and positions of flags.
		hi("web", "-c=web"), hi("web", "-cweb"), hi("-c", "web", "web"), hi("--container=web", "web"),
		hi("web", "--container", "web"), hi("-c", "no-such", "-c", "web", "web"),
		hi("multi", "-c", "a"), hi("web", "--container="), hi("with-init", "--container=main"),
		hi("-n=default", "web"), hi("-ndefault", "web"), hi("--namespace=default", "web"),
		hi("--namespace", "default", "web"), hi("web", "-n", "default"), hi("-n", "no-such", "-n", "default", "web"),
		hi("-q", "web"), hi("--quiet", "multi"), hi("--quiet=true", "deploy/web"), hi("--quiet=false", "web"),
		hi("--pod-running-timeout=30s", "deploy/web"), hi("--pod-running-timeout", "1m", "web"),
		hi("-i=false", "-t=false", "web"), hi("--tty=false", "web"),

		// Input.
		cat("-i", "web"), cat("--stdin", "web"), cat("--stdin=true", "web"), cat("-i=true", "web"), cat("web", "-i"),
		cat("-iq", "web"), cat("-qi", "web"), cat("-icweb", "web"),
		cat("-ti", "web"), cat("-i", "-t", "web"), cat("--stdin", "--tty", "web"), cat("-it", "web", "-c", "web"),
		cat("-qit", "web"),
		{Name: "kubectl: no input where stdin is false", Args: []string{"--stdin=false", "web", "--", "cat"}, In: "in\n"},
		{Name: "kubectl: an empty input", Args: []string{"-i", "web", "--", "cat"}},
		{
			Name: "kubectl: an input that is read in part", Args: []string{"-i", "web", "--", "head", "-n", "1"},
			In: "one\ntwo\n", Out: "one\n",
		},
		{
			Name: "kubectl: an input that is read by one of two",
			Args: append([]string{"-i"}, sh("read a; echo \"<$a>\"; cat")...), In: "one\ntwo", Out: "<one>\ntwo",
		},
		{
			Name: "kubectl: an input of nulls", Args: []string{"-i", "web", "--", "wc", "-c"},
			In: strings.Repeat("\x00", 100_000), Out: "100000\n",
		},

		// Global flags.
		hi("--request-timeout=30s", "web"), hi("--request-timeout", "30", "web"), hi("--request-timeout=0", "web"),
		hi("--context=", "web"), hi("--user=", "web"), hi("--cluster=", "web"), hi("--kubeconfig=", "web"),
		hi("--insecure-skip-tls-verify", "web"), hi("--insecure-skip-tls-verify=false", "web"),
		hi("--disable-compression", "web"), hi("--cache-dir=/tmp/none", "web"), hi("--profile=none", "web"),
		hi("--log-flush-frequency=1s", "web"), hi("--vmodule=none=1", "web"),
		hi("--warnings-as-errors", "web"), hi("-v=0", "web"), hi("--v=0", "web"), hi("-v", "0", "web"), hi("-v0", "web"),
		hi("--proxy-url=", "web"),

		// Exit codes and streams.
		{Name: "kubectl: interrupted", Args: sh("kill -INT $$"), Code: 130, Quiet: true},
		{Name: "kubectl: hung up", Args: sh("kill -HUP $$"), Code: 129, Quiet: true},
		{Name: "kubectl: a fault of memory", Args: sh("kill -SEGV $$"), Code: 139, Quiet: true},
		{Name: "kubectl: code 124 of the command's own", Args: sh("exit 124"), Code: 124, Quiet: true},
		{Name: "kubectl: code 141 of the command's own", Args: sh("exit 141"), Code: 141, Quiet: true},
		{Name: "kubectl: code 254 of the command's own", Args: sh("exit 254"), Code: 254, Quiet: true},
		{Name: "kubectl: a pipe inside", Args: sh("seq 1 100000 | head -n 3"), Out: "1\n2\n3\n", Quiet: true},
		{Name: "kubectl: nulls", Args: sh(`printf '\000\000\000'`), Out: "\x00\x00\x00", Quiet: true},
		{
			Name: "kubectl: a long line", Args: sh("head -c 300000 /dev/zero | tr '\\000' x"),
			Out: strings.Repeat("x", 300_000), Quiet: true,
		},
		{
			Name: "kubectl: much on stderr, and a code", Args: sh("seq 1 5; seq 1 20000 >&2; exit 6"),
			Out: "1\n2\n3\n4\n5\n", Err: []string{"19999\n20000\n"}, Code: 6,
		},
		{
			Name: "kubectl: a closed stdout", Args: sh("exec >&-; echo err >&2; exit 3"), Err: []string{"err\n"}, Code: 3,
			Quiet: true,
		},
		{
			Name: "kubectl: a child that has let go of the outputs", Args: sh("sleep 2 >/dev/null 2>&1 & echo hi"),
			Out: "hi\n", Quiet: true,
		},

		// Arguments.
		{
			Name: "kubectl: a long argument", Args: sh(`echo ${#1}`, "sh", strings.Repeat("0123456789", 2000)),
			Out: "20000\n", Quiet: true,
		},
		{
			Name: "kubectl: many arguments",
			Args: append(sh(`echo $#`, "sh"), strings.Split(strings.Repeat("a,", 299)+"a", ",")...), Out: "300\n",
			Quiet: true,
		},
		{
			Name: "kubectl: -- behind --", Args: []string{"web", "--", "echo", "a", "--", "b", "--"}, Out: "a -- b --\n",
			Quiet: true,
		},
		{
			Name: "kubectl: -i behind --", Args: []string{"web", "--", "echo", "-i", "-c", "no-such", "--help", "-q"},
			Out: "-i -c no-such --help -q\n", Quiet: true,
		},
		{
			Name: "kubectl: a query's letters",
			Args: []string{"web", "--", "printf", "%s|", "a=b&c", "%41", "+", "#x", "?y", "/z"},
			Out:  "a=b&c|%41|+|#x|?y|/z|", Quiet: true,
		},

		// Errors.
		fails("kubectl: an unknown -c", 255, describes, "no-such", "web", "-c", "no-such", "--", "true"),
		fails("kubectl: the last of two -c", 255, describes, "no-such", "-c", "web", "-c", "no-such", "web", "--", "true"),
		fails("kubectl: a -c that no container can have", 255, describes, "a/b", "web", "-c", "a/b", "--", "true"),
		fails("kubectl: an unknown -c of an unknown pod", 255, describes, "no-such-pod",
			"no-such-pod", "-c", "x", "--", "true"),
		fails("kubectl: an unknown statefulset", 255, describes, "no-such", "sts/no-such", "--", "true"),
		fails("kubectl: an unknown replica set", 255, describes, "no-such", "rs/no-such", "--", "true"),
		fails("kubectl: an unknown job", 255, describes, "no-such", "job/no-such", "--", "true"),
		fails("kubectl: an unknown service", 255, describes, "no-such", "svc/no-such", "--", "true"),
		fails("kubectl: a wrong name of the server", 255, describes, "certificate",
			"--tls-server-name=wrong.invalid", "web", "--", "true"),
		fails("kubectl: a CA that is not there", 255, describes, "/no/such/ca",
			"--certificate-authority=/no/such/ca", "web", "--", "true"),
		fails("kubectl: a certificate that is not there", 255, describes, "/no/such/crt",
			"--client-certificate=/no/such/crt", "--client-key=/no/such/key", "web", "--", "true"),
		fails("kubectl: an unknown user", 255, describes, "no-such", "--user=no-such", "web", "--", "true"),
		fails("kubectl: an unknown cluster", 255, describes, "no-such", "--cluster=no-such", "web", "--", "true"),
		fails("kubectl: a proxy that is not there", 255, describes, "127.0.0.1:1",
			"--proxy-url=http://127.0.0.1:1", "--server=https://192.0.2.1:6443", "web", "--", "true"),
		fails("kubectl: an option for a command", 127, startCode, `no command "-x"`, "web", "--", "-x"),
		fails("kubectl: a blank in the command", 127, startCode, `no command "echo hi"`, "web", "--", "echo hi"),
		fails("kubectl: -- for a command", 127, startCode, `no command "--"`, "web", "--", "--", "true"),
		fails("kubectl: an empty command", 127, startCode, `no command ""`, "web", "--", ""),
		fails("kubectl: two pods", 2, usageCode, "more than one pod is named", "web", "multi", "--", "true"),
		fails("kubectl: a type and a name apart", 2, usageCode, "exec deploy/web -- true", "deploy", "web", "--", "true"),
		fails("kubectl: a type that has no pods", 2, usageCode, "configmap", "configmap/web", "--", "true"),
		fails("kubectl: two slashes", 2, usageCode, "web/x", "pod/web/x", "--", "true"),
		fails("kubectl: a script without dashes", 2, usageCode, "--", "web", "sh", "-c", "echo hi"),
		fails("kubectl: nothing behind --", 2, usageCode, "no command", "web", "--"),
		fails("kubectl: a flag without its value", 2, usageCode, "needs an argument", "web", "-c"),
		fails("kubectl: a time that is none", 2, usageCode, "soon", "--pod-running-timeout=soon", "web", "--", "true"),
		fails("kubectl: a request's time that is none", 2, usageCode, "soon", "--request-timeout=soon", "web", "--", "true"),
		fails("kubectl: no truth", 2, usageCode, "maybe", "--stdin=maybe", "web", "--", "true"),
		{Name: "kubectl: no time to wait", Args: []string{"--pod-running-timeout=0s", "web", "--", "true"}, Differs: noZero},
	}
	return all
}
