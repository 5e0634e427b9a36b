package contract

import (
	"regexp"
	"strings"
)

// Reasons for differences from kubectl exec.
const (
	describes = "kubectl exits 1 for its own errors, like a command that exits 1; kshell exits 255"
	startCode = "kubectl exits 1 if the command cannot be started; kshell exits 126 or 127, as shells do"
	usageCode = "kubectl exits 1 for a wrong command line; kshell exits 2"
	kshells   = "kubectl does not have the flag"
	flagFirst = "kubectl prefers the client certificate to --token; kshell sends the token"
	fromStdin = "kubectl rejects a single object on stdin and accepts it from a file"
)

// gaveUp matches the messages of a wait for a pod that cannot be scheduled. The
// times in the messages vary.
var gaveUp = regexp.MustCompile(
	`^kshell: waiting \(up to 1s, see --pod-running-timeout\): pod "pending" is not scheduled .*\n` +
		`(kshell: waiting: .*\n)*` +
		`kshell: gave up after [0-9]+s: pod "pending" is not scheduled .*\n(hint: .*\n)*$`)

// sh returns the arguments of kshell exec that run a shell script in pod web.
func sh(script string, args ...string) []string {
	return append([]string{"web", "--", "sh", "-c", script}, args...)
}

// Cases returns the cases that need no terminal and no fault, and take less
// than a few seconds each.
func Cases() []Case {
	megabyte := strings.Repeat("0123456789abcde\n", 1<<16)
	return append(kubectlCases(), []Case{
		// Exit codes.
		{
			Name: "streams stay apart and the exit code is the command's", Args: sh("echo out; echo err >&2; exit 7"),
			Out: "out\n", Err: []string{"err\n"}, Code: 7, Quiet: true, EachProtocol: true,
		},
		{Name: "success is 0", Args: sh("true"), Quiet: true},
		{Name: "success is 0 in every protocol", Args: sh("echo ok"), Out: "ok\n", Quiet: true, EachProtocol: true},
		{Name: "a failure is 1", Args: sh("false"), Code: 1, Quiet: true},
		{Name: "code 2", Args: sh("exit 2"), Code: 2, Quiet: true},
		{Name: "code 126 of the command's own", Args: sh("exit 126"), Code: 126, Quiet: true},
		{Name: "code 255 of the command's own", Args: sh("exit 255"), Code: 255, Quiet: true},
		{Name: "killed by a signal", Args: sh("kill -9 $$"), Code: 137, Quiet: true},
		{Name: "terminated", Args: sh("kill -TERM $$"), Code: 143, Quiet: true},
		{
			Name: "no such command is 127", Args: []string{"web", "--", "no-such-command"},
			Err: []string{`no command "no-such-command"`, "hint:"}, Code: 127, EachProtocol: true, Differs: startCode,
		},
		{
			Name: "no such file is 127", Args: []string{"web", "--", "/no/such/file"},
			Err: []string{`no command "/no/such/file"`}, Code: 127, Differs: startCode,
		},
		{
			Name: "not executable is 126", Args: []string{"web", "--", "/etc/passwd"},
			Err: []string{`could not run "/etc/passwd"`}, Code: 126, EachProtocol: true, Differs: startCode,
		},
		{
			Name: "a directory is 126", Args: []string{"web", "--", "/tmp"}, Err: []string{`could not run "/tmp"`},
			Code: 126, Differs: startCode,
		},
		{Name: "the shell's own 127 is not commented on", Args: sh("exit 127"), Code: 127, Quiet: true},

		// Output.
		{Name: "output without a newline at its end", Args: sh("printf abc"), Out: "abc", Quiet: true},
		{Name: "no output", Args: sh(":"), Quiet: true},
		{
			Name: "every byte value",
			Args: sh(`i=0; while [ $i -lt 256 ]; do printf "\\$(printf %03o $i)"; i=$((i+1)); done`), Out: allBytes(),
			Quiet: true, EachProtocol: true,
		},
		{Name: "carriage returns are left alone", Args: sh(`printf 'a\r\nb\rc\n'`), Out: "a\r\nb\rc\n", Quiet: true},
		{Name: "UTF-8", Args: sh(`printf 'grüße 你好 👋\n'`), Out: "grüße 你好 👋\n", Quiet: true, EachProtocol: true},
		{
			Name: "escape sequences of the command pass", Args: sh(`printf '\033[31mred\033[0m'`),
			Out: "\x1b[31mred\x1b[0m", Quiet: true,
		},
		{
			Name: "a megabyte out", Args: sh(`i=0; while [ $i -lt 65536 ]; do echo 0123456789abcde; i=$((i+1)); done`),
			Out: megabyte, Quiet: true,
		},
		{
			Name: "a lot on both streams", Args: sh("seq 1 20000 >&2; seq 1 20000 | tail -n 1"), Out: "20000\n",
			Err: []string{"\n19999\n20000\n"},
		},
		{Name: "stderr alone", Args: sh("echo only >&2"), Err: []string{"only\n"}, Quiet: true},

		// The command line.
		{
			Name: "arguments arrive as they are",
			Args: sh(`for a; do printf '[%s]' "$a"; done`,
				"sh", "a b", "", "*", "$HOME", "it's", `q"q`, `b\s`, "--", "-n", "ü", "a&b=c+d%20;e"),
			Out: "[a b][][*][$HOME][it's][q\"q][b\\s][--][-n][ü][a&b=c+d%20;e]", Quiet: true, EachProtocol: true,
		},
		{Name: "a newline in an argument", Args: sh(`printf %s "$1"`, "sh", "a\nb"), Out: "a\nb", Quiet: true},
		{
			Name: "flags of the command are the command's",
			Args: []string{"web", "--", "sh", "-c", "echo $0 $1", "-i", "-t"}, Out: "-i -t\n", Quiet: true,
		},
		{
			Name: "flags behind the pod are kshell's", Args: []string{"web", "-c", "web", "--", "echo", "hi"}, Out: "hi\n",
			Quiet: true,
		},
		{Name: "pod is a type too", Args: []string{"pod/web", "--", "echo", "hi"}, Out: "hi\n", Quiet: true},
		{Name: "a namespace", Args: []string{"-n", "default", "web", "--", "echo", "hi"}, Out: "hi\n", Quiet: true},
		{
			Name: "no pod", Args: []string{"--", "true"},
			Err: []string{"no pod is specified", "hint: type `kshell exec (POD | TYPE/NAME) -- COMMAND`"}, Code: 2,
			Differs: usageCode,
		},
		{
			Name: "no command without a terminal", Args: []string{"web"},
			Err: []string{"no command is specified", "hint: type `kshell exec web -- COMMAND`"}, Code: 2, Differs: usageCode,
		},
		{
			Name: "a command without dashes", Args: []string{"web", "ls"},
			Err: []string{"separated from the pod by --", "hint: put -- before the command"}, Code: 2, Differs: usageCode,
		},
		{
			Name: "an unknown flag", Args: []string{"--frobnicate", "web", "--", "true"}, Err: []string{"--frobnicate"},
			Code: 2, Differs: usageCode,
		},
		{
			Name: "an unknown type", Args: []string{"gizmo/web", "--", "true"}, Err: []string{"gizmo", "hint:"}, Code: 2,
			Differs: usageCode,
		},
		{
			Name: "an unknown subprotocol", Args: []string{"--subprotocol", "v9.channel.k8s.io", "web", "--", "true"},
			Err: []string{"v9.channel.k8s.io", "v5.channel.k8s.io"}, Code: 2, Differs: kshells,
		},

		// Input.
		{
			Name: "without -i the command sees an empty input", Args: sh("cat; echo end"), In: "not for you\n",
			Out: "end\n", Quiet: true,
		},
		{
			Name: "input arrives and ends", Args: append([]string{"-i"}, sh("cat; echo end")...), In: "a\nb\n",
			Out: "a\nb\nend\n", Quiet: true,
		},
		{Name: "input without a newline", Args: append([]string{"-i"}, sh("cat")...), In: "abc", Out: "abc", Quiet: true},
		{
			Name: "every byte value in and out", Args: append([]string{"-i"}, sh("cat")...), In: allBytes(),
			Out: allBytes(), Quiet: true,
		},
		{Name: "a megabyte in and out", Args: append([]string{"-i"}, sh("cat")...), In: megabyte, Out: megabyte, Quiet: true},
		{
			Name: "an input that the command does not read", Args: append([]string{"-i"}, sh("exit 3")...), In: "unread\n",
			Code: 3, Quiet: true,
		},
		{
			Name: "a script as the input", Args: []string{"-i", "web", "--", "sh"}, In: "echo from a script\nexit 4\n",
			Out: "from a script\n", Code: 4, Quiet: true,
		},
		{
			Name: "an input whose end cannot be told is refused",
			Args: append([]string{"-i", "--exact=never", "--subprotocol", "v4.channel.k8s.io"}, sh("cat")...), In: "a\n",
			Err: []string{"v4.channel.k8s.io", "wait forever", "hint:"}, Code: 255, Differs: kshells,
		},
		{
			Name: "an input whose end exact mode tells",
			Args: append([]string{"-i", "--subprotocol", "v4.channel.k8s.io"}, sh("cat")...), In: "a\n", Out: "a\n",
			Quiet: true, Differs: kshells,
		},
		{
			Name: "a tty without a terminal is given up with a word", Args: append([]string{"-it"}, sh("echo hi")...),
			In: "x", Out: "hi\n", Err: []string{"warning: stdin is not a terminal"},
		},
		{
			Name: "a tty without input is given up with a word", Args: append([]string{"-t"}, sh("echo hi")...),
			Out: "hi\n", Err: []string{"warning: -t needs -i"},
		},

		// The choice of the container.
		{
			Name: "a deployment", Args: []string{"deploy/web", "--", "echo", "hi"}, Out: "hi\n",
			Err: []string{"has 2 pods: chose"},
		},
		{Name: "a deployment by its long name", Args: []string{"deployments.apps/web", "--", "echo", "hi"}, Out: "hi\n"},
		{Name: "a service", Args: []string{"svc/web", "--", "echo", "hi"}, Out: "hi\n"},
		{Name: "a statefulset", Args: []string{"sts/db", "--", "echo", "hi"}, Out: "hi\n"},
		{Name: "a daemonset", Args: []string{"ds/agent", "--", "echo", "hi"}, Out: "hi\n"},
		{
			Name: "quiet says nothing of the choice", Args: []string{"-q", "deploy/web", "--", "echo", "hi"}, Out: "hi\n",
			Quiet: true,
		},
		{
			Name: "the first of several containers is said", Args: []string{"multi", "--", "echo", "hi"}, Out: "hi\n",
			Err: []string{`"a"`, `"b"`},
		},
		{
			Name: "a named container is not said", Args: []string{"multi", "-c", "b", "--", "echo", "hi"}, Out: "hi\n",
			Quiet: true,
		},
		{
			Name: "the default container of the annotation", Args: []string{"annotated", "-v", "--", "echo", "hi"},
			Out: "hi\n", Err: []string{"container main"}, Differs: kshells,
		},
		{
			Name: "a restartable init container", Args: []string{"with-init", "-c", "sidecar", "--", "echo", "hi"},
			Out: "hi\n", Quiet: true,
		},
		{
			Name: "an init container that has finished", Args: []string{"with-init", "-c", "init", "--", "true"},
			Err: []string{"init", "hint:"}, Code: 255, Differs: describes,
		},
		{
			Name: "an unknown container lists those there are", Args: []string{"multi", "-c", "x", "--", "true"},
			Err: []string{`"x"`, "a", "b"}, Code: 255, Differs: describes,
		},
		{
			Name: "an unknown pod", Args: []string{"no-such-pod", "--", "true"},
			Err: []string{"no-such-pod", "does not exist", "hint:"}, Code: 255, Differs: describes,
		},
		{
			Name: "an unknown deployment", Args: []string{"deploy/no-such", "--", "true"},
			Err: []string{"no-such", "does not exist"}, Code: 255, Differs: describes,
		},
		{
			Name: "an unknown namespace", Args: []string{"-n", "no-such-ns", "web", "--", "true"},
			Err: []string{"no-such-ns"}, Code: 255, Differs: describes,
		},
		{
			Name: "a completed pod is refused in words",
			Args: []string{"--pod-running-timeout=0", "job/once", "--", "true"}, Err: []string{"has completed"}, Code: 255,
			Differs: describes,
		},
		{
			Name: "a pod that cannot be scheduled", Args: []string{"--pod-running-timeout=1s", "pending", "--", "true"},
			ErrPattern: gaveUp, Code: 255, Differs: describes,
		},
		{
			Name: "an image that cannot be pulled", Args: []string{"--pod-running-timeout=1s", "pulling", "--", "true"},
			Err: []string{"pulling", "ImagePull"}, Code: 255, Differs: describes,
		},
		{
			Name: "a container that crashes", Args: []string{"--pod-running-timeout=0", "crash", "--", "true"},
			Err: []string{"crash", "hint:"}, Code: 255, Differs: describes,
		},

		// Flags that kubectl does not have.
		{
			Name: "a variable for the command",
			Args: append([]string{"--env", "A=two words", "--env", "B="}, sh(`echo "$A,${B-unset}"`)...),
			Out:  "two words,\n", Quiet: true, Differs: kshells,
		},
		{
			Name: "a directory for the command", Args: append([]string{"--workdir", "/"}, sh("pwd")...), Out: "/\n",
			Quiet: true, Differs: kshells,
		},
		{
			Name: "a directory that is not there", Args: append([]string{"--workdir", "/no/such"}, sh("pwd")...),
			Err: []string{`working directory "/no/such" (--workdir) does not exist in container`}, Code: 255, Differs: kshells,
		},
		{
			Name: "a time that has run out", Args: append([]string{"--timeout", "5s"}, sh("echo begun; sleep 600")...),
			Out: "begun\n", Err: []string{"did not end within 5s"}, Code: 124, Differs: kshells,
		},
		{
			Name: "a time that has not", Args: append([]string{"--timeout", "1m"}, sh("exit 9")...), Code: 9, Quiet: true,
			Differs: kshells,
		},
		{
			Name: "no input, whatever -i says", Args: append([]string{"-i", "--no-stdin"}, sh("wc -c")...), In: "abc",
			Out: "0\n", Quiet: true, Differs: kshells,
		},
		{
			Name: "the plain way", Args: append([]string{"--exact=never"}, sh("echo out; exit 3")...), Out: "out\n",
			Code: 3, Quiet: true, EachProtocol: true, Differs: kshells,
		},
		{
			Name: "the exact way and no other", Args: append([]string{"--exact=always", "-i"}, sh("cat; exit 3")...),
			In: "in", Out: "in", Code: 3, Quiet: true, EachProtocol: true, Differs: kshells,
		},
		{Name: "a child that keeps stdout open", Args: sh("sleep 3 & exit 4"), Code: 4, Quiet: true},

		// Manifests that name the pod.
		{
			Name: "a manifest from stdin", Args: []string{"-f", "-", "--", "echo", "hi"},
			In: "{apiVersion: v1, kind: Pod, metadata: {name: web}}\n", Out: "hi\n", Quiet: true, Differs: fromStdin,
		},
		{
			Name: "a manifest of a workload", Args: []string{"-f", "-", "--", "echo", "hi"},
			In: "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: default}}\n", Out: "hi\n",
			Differs: fromStdin,
		},
		{
			Name: "a manifest of another namespace", Args: []string{"-n", "other", "-f", "-", "--", "true"},
			In: "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: default}}\n",
			Err: []string{
				`the namespace from the provided object "default" does not match the namespace "other"`,
				"'--namespace=default'",
			},
			Code: 2, Differs: usageCode,
		},
		{
			Name: "a manifest that is not there", Args: []string{"-f", "/no/such.yaml", "--", "true"},
			Err: []string{"/no/such.yaml", "no such file"}, Code: 255, Differs: describes,
		},
		{
			Name: "a manifest and a pod", Args: []string{"-f", "-", "web", "--", "true"}, In: "{}",
			Err: []string{"cannot be used together", "hint:"}, Code: 2, Differs: usageCode,
		},

		// The server.
		{
			Name: "an unknown context", Args: []string{"--context", "no-such-context", "web", "--", "true"},
			Err: []string{"no-such-context", "hint:"}, Code: 255, Differs: describes,
		},
		{
			Name: "a kubeconfig that is not there",
			Args: []string{"--kubeconfig", "/no/such/kubeconfig", "web", "--", "true"},
			Err:  []string{"/no/such/kubeconfig", "hint:"}, Code: 255, Differs: describes,
		},
		{
			Name: "a server that is not there", Args: []string{"--server", "https://127.0.0.1:1", "web", "--", "true"},
			Err: []string{"127.0.0.1:1", "connection refused"}, Code: 255, Differs: describes,
		},
		{
			Name: "a token that is wrong", Args: []string{"--token", "wrong", "web", "--", "true"},
			Err: []string{"Unauthorized"}, Code: 255, Differs: flagFirst,
		},
	}...)
}

func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}
