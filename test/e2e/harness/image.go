package harness

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
)

// The names by which pods refer to the images. There is no registry: the images
// are imported into each node.
const (
	pauseImage   = "kshell.local/pause:1"
	BusyboxImage = "kshell.local/busybox:1" // sh, and 260 tools
	BashImage    = "kshell.local/bash:1"    // bash, also as sh, and the tools of busybox except its shells
	AshImage     = "kshell.local/ash:1"     // /bin/ash and tools, but no sh or bash
	NoShellImage = "kshell.local/noshell:1" // only static binaries: /hello /args /cat /exit /sleep

	// nodeShellImage is the default image of `kshell node-shell`, which the nodes
	// cannot download. It is another name of BusyboxImage.
	nodeShellImage = "docker.io/library/busybox:1.37"
)

// layer is the content of an image, by path.
type layer struct {
	files map[string]layerFile
	links map[string]string // path -> target
	dirs  map[string]fs.FileMode
}

type layerFile struct {
	data []byte
	mode fs.FileMode
}

func newLayer() *layer {
	return &layer{
		files: map[string]layerFile{},
		links: map[string]string{},
		dirs:  map[string]fs.FileMode{"tmp": 0o777 | fs.ModeSticky},
	}
}

// unixLayer returns a layer with the usual files of a Unix system.
func unixLayer() *layer {
	l := newLayer()
	l.dirs["root"] = 0o700
	l.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n")
	l.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
	return l
}

func (l *layer) text(path, text string) { l.files[path] = layerFile{data: []byte(text), mode: 0o644} }

// program adds an executable file of the host to the layer.
func (l *layer) program(path, from string) error {
	data, err := os.ReadFile(from)
	l.files[path] = layerFile{data: data, mode: 0o755}
	return err
}

// tar returns the layer as a tar archive, sorted by path and without times, so
// that the same content makes the same image.
func (l *layer) tar() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	headers := map[string]*tar.Header{}
	for p, mode := range l.dirs {
		headers[p] = &tar.Header{Typeflag: tar.TypeDir, Name: p + "/", Mode: unixMode(mode)}
	}
	for p, f := range l.files {
		headers[p] = &tar.Header{Typeflag: tar.TypeReg, Name: p, Mode: unixMode(f.mode), Size: int64(len(f.data))}
	}
	for p, target := range l.links {
		headers[p] = &tar.Header{Typeflag: tar.TypeSymlink, Name: p, Linkname: target, Mode: 0o777}
	}
	for p := range headers {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if headers[dir] == nil {
				headers[dir] = &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}
			}
		}
	}
	paths := make([]string, 0, len(headers))
	for p := range headers {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	for _, p := range paths {
		if err := w.WriteHeader(headers[p]); err != nil {
			return nil, err
		}
		if _, err := w.Write(l.files[p].data); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

func unixMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

// archive returns an image in the format of `docker save`: manifest.json, the
// configuration, and one layer.
func archive(names []string, l *layer, command ...string) ([]byte, error) {
	content, err := l.tar()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{
			"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"},
			"Cmd": command, "WorkingDir": "/",
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(content)}},
	})
	if err != nil {
		return nil, err
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal(
		[]map[string]any{{"Config": configName, "RepoTags": names, "Layers": []string{"layer.tar"}}},
	)
	if err != nil {
		return nil, err
	}
	files := newLayer()
	files.dirs = nil
	files.files["layer.tar"] = layerFile{data: content, mode: 0o644}
	files.files[configName] = layerFile{data: config, mode: 0o644}
	files.files["manifest.json"] = layerFile{data: manifest, mode: 0o644}
	return files.tar()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// makeImages writes archives of all images to the directory `images` in the
// state directory.
func (c *Cluster) makeImages() error {
	tools := filepath.Join(c.Dir, "bin", "podtools")
	sleep := []string{"sleep", "infinity"}
	for name, build := range map[string]func() (*layer, []string, error){
		pauseImage: func() (*layer, []string, error) {
			l, err := toolLayer(tools, "pause")
			return l, []string{"/pause"}, err
		},
		NoShellImage: func() (*layer, []string, error) {
			l, err := toolLayer(tools, "hello", "args", "cat", "exit", "sleep")
			return l, []string{"/sleep"}, err
		},
		BusyboxImage: func() (*layer, []string, error) { l, err := busyboxLayer("bin/busybox", nil); return l, sleep, err },
		AshImage: func() (*layer, []string, error) {
			l, err := busyboxLayer("bin/ash", func(applet string) bool { return !isShell(applet) && applet != "busybox" })
			return l, sleep, err
		},
		BashImage: func() (*layer, []string, error) { l, err := bashLayer(); return l, sleep, err },
	} {
		l, command, err := build()
		if err != nil {
			return fmt.Errorf("cannot make the image %s: %w", name, err)
		}
		data, err := archive(namesOf(name), l, command...)
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.imageFile(name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// namesOf returns all names of an image.
func namesOf(name string) []string {
	if name == BusyboxImage {
		return []string{name, nodeShellImage}
	}
	return []string{name}
}

func (c *Cluster) imageFile(name string) string {
	base, _, _ := strings.Cut(path.Base(name), ":")
	return filepath.Join(c.Dir, "images", base+".tar")
}

func isShell(applet string) bool {
	return applet == "sh" || applet == "ash" || applet == "hush" || applet == "bash"
}

// toolLayer returns a layer with podtools under the given names, in the root
// directory.
func toolLayer(from string, names ...string) (*layer, error) {
	l := newLayer()
	err := l.program(names[0], from)
	for _, name := range names[1:] {
		l.links[name] = names[0]
	}
	return l, err
}

// busyboxLayer returns a layer with busybox at the given path, and links to it
// for the applets for which keep returns true. If keep is nil, it adds a link
// for every applet.
func busyboxLayer(at string, keep func(applet string) bool) (*layer, error) {
	l := unixLayer()
	from, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	if err := l.program(at, from); err != nil {
		return nil, err
	}
	list, err := exec.Command(from, "--list").Output()
	if err != nil {
		return nil, err
	}
	for _, applet := range strings.Fields(string(list)) {
		if link := "bin/" + applet; link != at && (keep == nil || keep(applet)) {
			l.links[link] = "/" + at
		}
	}
	return l, nil
}

// bashLayer returns a layer with bash, also as sh, with busybox for everything
// else, and with terminal descriptions.
func bashLayer() (*layer, error) {
	l, err := busyboxLayer("bin/busybox", func(applet string) bool { return !isShell(applet) })
	if err != nil {
		return nil, err
	}
	if err := l.program("bin/bash", "/bin/bash-static"); err != nil {
		return nil, err
	}
	l.links["bin/sh"] = "bash"
	l.text("root/.bashrc", "PS1='bash-pod# '\n")
	for _, term := range []string{
		"x/xterm", "x/xterm-256color", "s/screen", "s/screen-256color", "t/tmux", "t/tmux-256color", "l/linux",
		"v/vt100", "d/dumb",
	} {
		data, err := os.ReadFile("/lib/terminfo/" + term)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		l.files["lib/terminfo/"+term] = layerFile{data: data, mode: 0o644}
	}
	return l, nil
}

// importImages imports missing images into a node.
func (c *Cluster) importImages(ctx context.Context, n node) error {
	list, err := c.enter(n, "ctr", "--namespace=k8s.io", "images", "list", "-q")
	if err != nil {
		return err
	}
	have, err := c.output(ctx, nil, list...)
	if err != nil {
		return err
	}
	load, err := c.enter(n, "ctr", "--namespace=k8s.io", "images", "import", "-")
	if err != nil {
		return err
	}
	for _, name := range []string{pauseImage, BusyboxImage, BashImage, AshImage, NoShellImage} {
		isMissing := func(name string) bool { return !strings.Contains(string(have), name) }
		if !slices.ContainsFunc(namesOf(name), isMissing) {
			continue
		}
		data, err := os.ReadFile(c.imageFile(name))
		if err != nil {
			return err
		}
		if _, err := c.output(ctx, bytes.NewReader(data), load...); err != nil {
			return fmt.Errorf("%s cannot import %s: %w", n.name, name, err)
		}
	}
	return nil
}
