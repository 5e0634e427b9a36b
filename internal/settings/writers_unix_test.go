//go:build unix

package settings

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAttributes_Writers(t *testing.T) {
	const self, other = 1000, 1001
	private := func(uid, gid int) bool { return uid == gid }
	for _, test := range []struct {
		name     string
		mode     fs.FileMode
		uid, gid int
		want     string
	}{
		{"own file", 0o600, self, self, ""},
		{"own file, readable by all", 0o644, self, self, ""},
		{"root's file", 0o644, 0, 0, ""},
		{"another user's file", 0o600, other, other, "P belongs to the user ID 1001"},
		{"writable by all", 0o666, self, self, "every user can write to P (chmod go-w P)"},
		{"writable by a group", 0o664, self, 50, "the group ID 50 can write to P (chmod g-w P)"},
		{"writable by the private group", 0o664, self, self, ""},
		{"root's file, writable by a group", 0o664, 0, 50, "the group ID 50 can write to P (chmod g-w P)"},
		{"sticky file", fs.ModeSticky | 0o666, self, self, "every user can write to P (chmod go-w P)"},
		{"own directory", fs.ModeDir | 0o755, self, self, ""},
		{"directory writable by all", fs.ModeDir | 0o777, self, self, "every user can write to P (chmod go-w P)"},
		{"sticky directory", fs.ModeDir | fs.ModeSticky | 0o777, 0, 0, ""},
		{
			"another user's sticky directory", fs.ModeDir | fs.ModeSticky | 0o777, other, 0,
			"P belongs to the user ID 1001",
		},
		{"another user's directory", fs.ModeDir | 0o755, other, other, "P belongs to the user ID 1001"},
	} {
		a := attributes{"P", test.mode, test.uid, test.gid}
		if got := a.writers(self, private); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestLoad_OtherWriters(t *testing.T) {
	load := func(path string) string {
		t.Helper()
		file, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return file.OtherWriters()
	}
	path := write(t, contents)
	dir := filepath.Dir(path)
	if got := load(path); got != "" {
		t.Errorf("own file: got %q", got)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := load(path); !strings.HasPrefix(got, "every user can write to "+dir+" ") {
		t.Errorf("in a directory that is writable by all: got %q", got)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if got := load(link); !strings.HasPrefix(got, "every user can write to "+dir+" ") {
		t.Errorf("a link to such a file: got %q", got)
	}
	if err := os.Chmod(dir, fs.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	if got := load(link); got != "" {
		t.Errorf("in a sticky directory: got %q", got)
	}
	if err := os.Chmod(path, 0o602); err != nil {
		t.Fatal(err)
	}
	if got := load(link); !strings.HasPrefix(got, "every user can write to "+link+" ") {
		t.Errorf("a file that is writable by all: got %q", got)
	}
	if got := load("/dev/null"); got != "" {
		t.Errorf("/dev/null: got %q", got)
	}
	var none *File
	if got := none.OtherWriters(); got != "" {
		t.Errorf("no file: got %q", got)
	}
}

func TestLoad_OtherWritersOfLink(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for _, name := range []string{first, second} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		filepath.Join(first, "link"):  "../second/link",
		filepath.Join(second, "link"): write(t, contents),
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(second, 0o777); err != nil {
		t.Fatal(err)
	}
	file, err := Load(filepath.Join(first, "link"))
	if err != nil {
		t.Fatal(err)
	}
	if got := file.OtherWriters(); !strings.HasPrefix(got, "every user can write to "+second+" ") {
		t.Errorf("got %q", got)
	}
}

func TestHasOtherMembers(t *testing.T) {
	const groups = "root:x:0:\nann:x:1000:\nbob:x:1001:bob\nteam:x:50:ann,bob\neve:x:1002:eve,ann\n"
	for gid, want := range map[int]bool{0: false, 1000: false, 1001: false, 50: true, 1002: true, 7: false} {
		name := map[int]string{0: "root", 1000: "ann", 1001: "bob", 50: "ann", 1002: "eve"}[gid]
		if got := hasOtherMembers(groups, gid, name); got != want {
			t.Errorf("group %d: got %v", gid, got)
		}
	}
}
