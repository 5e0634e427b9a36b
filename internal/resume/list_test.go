package resume

import (
	"slices"
	"strings"
	"testing"

	"kshell/internal/agent"
)

const (
	listMounts = "mounts mnt:[1]\n"
	listAgent  = "agent /tmp/.kshell-agent-0123456789ab-a1\n"
)

func infoFrame(id, mounts string) string {
	return string(agent.Append(nil, &agent.Info{
		Version: 1, Build: "b", Session: id, Started: 7, Terminal: true, Clients: 2, PID: 9, Mounts: mounts,
		Command: []string{"sh", "-c", "\n"},
	}))
}

func TestParseList(t *testing.T) {
	out := listMounts + listAgent + infoFrame("a", "mnt:[1]") + infoFrame("b", "mnt:[2]") +
		"agent /var/tmp/x/.kshell-agent-abc-def-1\n" + "agent /var/tmp/.kshell-agent-abc-2\n" + infoFrame("c", "") +
		"agent /dev/shm/.kshell-agent-abc-3\nremoved /dev/shm/.kshell-agent-abc-3\n"
	infos, removed, err := ParseList([]byte(out))
	if err != nil || !slices.Equal(removed, []string{"/dev/shm/.kshell-agent-abc-3"}) {
		t.Errorf("removed %q", removed)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range infos {
		got = append(got, i.Dir+" "+i.Session+" "+strings.Repeat("other", map[bool]int{false: 1}[i.SameMounts]))
	}
	want := []string{
		"/tmp/.kshell-agent-0123456789ab-a1 a ", "/tmp/.kshell-agent-0123456789ab-a1 b other",
		"/var/tmp/.kshell-agent-abc-2 c ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if i := infos[0]; i.Started != 7 || !i.Terminal || i.Clients != 2 || i.PID != 9 || len(i.Command) != 3 {
		t.Errorf("%+v", i)
	}
	infos, _, err = ParseList([]byte("mounts \n" + listAgent + infoFrame("b", "mnt:[2]")))
	if err != nil || !infos[0].SameMounts {
		t.Error(infos, err)
	}
}

func TestParseList_Errors(t *testing.T) {
	frame := infoFrame("a", "")
	for name, out := range map[string]string{
		"another line":     listMounts + "hello\n",
		"a cut line":       listMounts + strings.TrimSuffix(listAgent, "\n"),
		"a cut frame":      listAgent + frame[:len(frame)-1],
		"no directory":     listMounts + frame,
		"another path":     "agent /etc/passwd\n" + frame,
		"a relative path":  "agent .kshell-agent-b-1\n" + frame,
		"a control":        "agent /tmp/\x1b[m/.kshell-agent-b-1\n" + frame,
		"no random part":   "agent /tmp/.kshell-agent-\n" + frame,
		"another frame":    listAgent + string(agent.Append(nil, &agent.Pong{})),
		"an unknown frame": listAgent + "\x01\x00\x00\x00\x00",
		"a long frame":     listAgent + "\x12\xff\xff\xff\xff",
		"many sessions":    listAgent + strings.Repeat(frame, maxSessions+1),
	} {
		if infos, _, err := ParseList([]byte(out)); err == nil {
			t.Errorf("%s: %+v", name, infos)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(listMounts + listAgent + infoFrame("a", "mnt:[1]") + infoFrame("b", "mnt:[2]")))
	f.Fuzz(func(t *testing.T, out []byte) {
		infos, _, err := ParseList(out)
		for _, i := range infos {
			if err != nil || !isAgentDir(i.Dir) {
				t.Fatal(i.Dir, err)
			}
		}
	})
}
