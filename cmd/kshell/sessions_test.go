package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/agent"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/resume"
)

// sessionOf returns a session that was found in a container. id also is the
// part of the arguments that differs.
func sessionOf(t *testing.T, podName, container, id string, change func(*resume.Info)) foundSession {
	t.Helper()
	target := remote.Target{Namespace: "default", Pod: podName, Container: container}
	command, err := remote.New(remote.Env{}, nil, target, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	info := resume.Info{Dir: "/tmp/d", SameMounts: true, Info: agent.Info{
		Build: "b1", Session: id, Started: 1_000_000_000, Terminal: true, PID: 7, Command: []string{"vi", "a b"},
	}}
	if change != nil {
		change(&info)
	}
	return foundSession{command: command, Info: info}
}

func TestSessions_Output(t *testing.T) {
	found := []foundSession{
		sessionOf(t, "web", "app", "id1", nil),
		sessionOf(t, "web", "app", "id2", func(i *resume.Info) { i.Clients, i.Command = 2, []string{"\x1b[2J\n"} }),
		sessionOf(t, "web", "", "id3", func(i *resume.Info) { i.Clients, i.Started = 1, 1<<63 }),
		sessionOf(t, "web", "proxy", "id4", func(i *resume.Info) { i.SameMounts, i.Ended, i.Command = false, true, nil }),
	}
	now := time.Unix(1_000_000_000+3*3600, 0)
	tests := map[string][]string{
		"": {
			"ID    POD   CONTAINER     AGE   STATUS         COMMAND",
			"id1   web   app           3h    detached       vi",
			`id2   web   app           3h    attached (2)   \x1b[2J`,
			"id3   web   -             0s    attached       vi",
			"id4   web   (not proxy)   3h    ended          -",
		},
		formatWide: {
			"ID    POD   CONTAINER     AGE   STATUS         DIRECTORY   COMMAND",
			"id1   web   app           3h    detached       /tmp/d      vi 'a b'",
			`id2   web   app           3h    attached (2)   /tmp/d      '\x1b[2J '`,
			"id3   web   -             0s    attached       /tmp/d      vi 'a b'",
			"id4   web   (not proxy)   3h    ended          /tmp/d      -",
		},
		formatName: {"id1", "id2", "id3", "id4"},
	}
	for format, want := range tests {
		var out bytes.Buffer
		a := newTestApp()
		a.printed = &errWriter{Writer: &out}
		a.printSessions("default", &sessionsPlan{format: format}, found, now)
		if diff := cmp.Diff(want, strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")); diff != "" {
			t.Errorf("format %q (-want +got):\n%s", format, diff)
		}
	}

	var out bytes.Buffer
	a := newTestApp()
	a.printed = &errWriter{Writer: &out}
	a.printSessions("default", &sessionsPlan{format: formatJSON}, found[3:], now)
	want := `{"id":"id4","namespace":"default","pod":"web","container":"proxy","otherContainer":true,` +
		`"started":"2001-09-09T01:46:40Z","status":"ended","clients":0,"terminal":true,"pid":7,"command":[],` +
		`"directory":"/tmp/d","agent":"b1"}` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("format json (-want +got):\n%s", diff)
	}
}

func TestSessions_None(t *testing.T) {
	deployment := pod.Target{Kind: "deployment", Name: "web"}
	for want, plan := range map[string]sessionsPlan{
		"kshell: there are no sessions in namespace default\n":                   {format: formatJSON},
		"kshell: there are no sessions in deployment/web in namespace default\n": {target: deployment},
	} {
		var out, messages bytes.Buffer
		a := newTestApp()
		a.printed, a.notice = &errWriter{Writer: &out}, notice.New(&messages)
		a.printSessions("default", &plan, nil, time.Now())
		if out.Len() != 0 || messages.String() != want {
			t.Errorf("stdout %q, stderr %q, want %q", &out, &messages, want)
		}
	}
}

// Containers that share a directory list each other's sessions. A session is
// listed once, in the container in which it runs, if that was asked.
func TestSessions_SharedDirectory(t *testing.T) {
	other := func(i *resume.Info) { i.SameMounts = false }
	found := withoutCopies([]foundSession{
		sessionOf(t, "a", "app", "id1", nil),
		sessionOf(t, "a", "app", "id2", other),
		sessionOf(t, "a", "app", "id3", other), // its container was not asked
		sessionOf(t, "a", "proxy", "id1", other),
		sessionOf(t, "a", "proxy", "id2", nil),
		sessionOf(t, "a", "no-tools", "id2", nil), // it does not know its mount namespace
		sessionOf(t, "b", "app", "id1", other),    // through a volume that two pods share
	})
	var got []string
	for _, s := range found {
		got = append(got, s.command.Target().Pod+"/"+s.command.Target().Container+"/"+s.Session)
	}
	want := []string{"a/app/id1", "a/app/id3", "a/proxy/id2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSessions_Choose(t *testing.T) {
	found := []foundSession{
		sessionOf(t, "web", "app", "ab1", nil), sessionOf(t, "web", "app", "ab", nil), sessionOf(t, "web", "app", "c1", nil),
	}
	tests := map[string]struct {
		want string
		err  errorText
	}{
		"ab1": {want: "ab1"},
		"ab":  {want: "ab"}, // the whole ID
		"c":   {want: "c1"},
		"a":   {err: errorText{"the IDs of 2 sessions begin with a", "type the whole ID"}},
		"d": {err: errorText{
			"session d does not exist: it may have ended", "`kshell sessions` lists the sessions of all pods of the namespace",
		}},
	}
	for id, tt := range tests {
		s, err := newTestApp().chooseSession(found, id)
		if diff := cmp.Diff(tt.err, errorTextOf(err)); diff != "" {
			t.Errorf("%s: error (-want +got):\n%s", id, diff)
		}
		if err == nil && s.Session != tt.want {
			t.Errorf("%s: session %s, want %s", id, s.Session, tt.want)
		}
	}
}
