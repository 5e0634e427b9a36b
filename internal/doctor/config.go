package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"kshell/internal/kubeconfig"
	"kshell/internal/script"
	"kshell/internal/settings"
)

// checkKubeconfig reads the kubeconfig files.
func checkKubeconfig(ctx context.Context, d *diagnosis) finding {
	var err error
	if d.loaded, err = d.Program.Load(); err != nil {
		return failure(ctx, err)
	}
	d.config = d.loaded.Describe()
	var found, missing []string
	for _, file := range d.config.Files {
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, fmt.Sprintf("%s does not exist", file))
			continue
		}
		found = append(found, file)
	}
	if len(found) == 0 {
		return passed("there is no kubeconfig file (%s)", d.config.FilesSource).with(missing...)
	}
	f := passed("%s (%s)", strings.Join(found, ", "), d.config.FilesSource).with(missing...)
	return f.andFiles(slices.Concat(found, d.config.SecretFiles)...)
}

// andFiles returns f as a warning if users other than root and the current user
// can read or change one of files, which contain credentials.
func (f finding) andFiles(files ...string) finding {
	var hints []string
	for _, file := range files {
		if problem := settings.OtherWriters(file); problem != "" {
			f.status, f.details = Warning, append(f.details, problem)
			hints = append(hints, "a user who can change this file can make kshell run programs: change its mode")
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && runtime.GOOS != "windows" &&
			info.Mode().Perm()&0o044 != 0 {
			f = f.as(Warning).with(fmt.Sprintf("other users can read %s (mode %v)", file, info.Mode()))
			hints = append(hints, "`chmod 600 "+script.Quote(file)+"`: the file may contain credentials")
		}
	}
	if f.hint == "" {
		f.hint = strings.Join(hints, "\n")
	}
	return f
}

// checkSettings reads the settings of kshell.
func checkSettings(ctx context.Context, d *diagnosis) finding {
	var err error
	if d.settings, err = d.Program.Settings(d.loaded); err != nil {
		return failure(ctx, err)
	}
	f := passed("no settings file")
	if d.settings.File != "" {
		f.message = d.settings.File
	}
	for _, v := range d.settings.Values {
		if v.Text != "" {
			f.details = append(f.details, fmt.Sprintf("%s: %s (%s)", v.Key, v.Text, v.Source))
		}
	}
	if len(d.settings.Warnings) > 0 {
		f.status, f.details = Warning, append(f.details, d.settings.Warnings...)
	}
	return f
}

// checkContext reports the context and the cluster.
func checkContext(_ context.Context, d *diagnosis) finding {
	switch name, cluster := d.config.Context, d.config.Cluster; {
	case name.Value == "" && cluster.Value == "":
		return passed("no context is selected")
	case name.Value == "":
		return passed("no context is selected; cluster %q (%s)", cluster.Value, cluster.Source)
	default:
		return passed("%q (%s)", name.Value, name.Source).
			with(fmt.Sprintf("cluster %q (%s)", cluster.Value, cluster.Source))
	}
}

// checkServer determines the first server to which kshell connects, and checks the
// entries of the kubeconfig.
func checkServer(ctx context.Context, d *diagnosis) finding {
	var err error
	if d.first, d.headlamp, err = d.Program.Server(d.loaded); err != nil {
		return failure(ctx, err)
	}
	server := d.config.Server
	f := passed("%s (%s)", server.Value, server.Source)
	if d.headlamp {
		f = passed("%s (a Headlamp server)", d.first.Config.Host)
	}
	if proxy := d.config.Proxy; proxy.Value != "" {
		f = f.with(fmt.Sprintf("proxy %s (%s)", proxy.Value, proxy.Source))
	}
	if len(d.first.Notes) > 0 {
		f.status, f.details = Warning, append(f.details, d.first.Notes...)
	}
	return f
}

// checkUser reports the user and the kind of the credentials, as the
// configuration describes them.
func checkUser(_ context.Context, d *diagnosis) finding {
	f := passed("%q (%s)", d.config.User.Value, d.config.User.Source)
	if d.config.User.Value == "" {
		f = passed("no user of the kubeconfig is selected")
	}
	for _, c := range d.config.Credentials {
		f = f.with(fmt.Sprintf("%s (%s)", describeKind(c.Value, d.config.Plugin), c.Source))
	}
	if as := d.config.Impersonates; as.Value != "" {
		f = f.with(fmt.Sprintf("requests impersonate %q (%s)", as.Value, as.Source))
	}
	for _, file := range d.config.SecretFiles {
		if err := readable(file); err != nil {
			f = f.as(Failed).with(fmt.Sprintf("%s cannot be read: %v", file, err))
			f.hint = "correct the path, or `chmod u+r " + script.Quote(file) + "`"
		}
	}
	return f
}

// readable returns an error if a file cannot be opened for reading. It does not open
// pipes and other files that are not regular.
func readable(name string) error {
	info, err := os.Stat(name)
	if err == nil && info.Mode().IsRegular() { // opening a pipe may block
		var file *os.File
		if file, err = os.Open(name); err == nil {
			_ = file.Close() // the file was not written
		}
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// describeKind describes a kind of credentials.
func describeKind(kind, plugin string) string {
	switch kind {
	case kubeconfig.AuthCertificate:
		return "client certificate"
	case kubeconfig.AuthPlugin:
		return "credential plugin " + plugin
	case kubeconfig.AuthPassword:
		return "user name and password"
	case kubeconfig.AuthOIDC:
		return "auth-provider oidc"
	}
	return kind
}

// checkNamespace reports the namespace.
func checkNamespace(_ context.Context, d *diagnosis) finding {
	if v := d.settings.Namespace; v.Text != "" {
		return passed("%q (setting namespace from %s)", v.Text, v.Source)
	}
	return passed("%q (%s)", d.config.Namespace.Value, d.config.Namespace.Source)
}
