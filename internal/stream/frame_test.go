package stream

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProtocols(t *testing.T) {
	want := []string{
		"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io",
	}
	if diff := cmp.Diff(want, Protocols()); diff != "" {
		t.Error(diff)
	}
	for _, name := range want {
		if _, ok := codecs[name]; !ok {
			t.Errorf("%s has no codec", name)
		}
	}
	if diff := cmp.Diff(want[:1], HalfClosing(want)); diff != "" {
		t.Errorf("half closing: %s", diff)
	}
}

func TestEncode(t *testing.T) {
	for name, want := range map[string]string{
		V5: "\x00hi\xff", V4: "\x00hi\xff", Channel: "\x00hi\xff",
		V4Base64: "0aGn/", Base64: "0aGn/",
	} {
		got, _ := codecs[name].encode(chStdin, []byte("\x09hi\xff"), nil)
		if string(got) != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := string(resizeMessage(133, 44)[headroom:]); got != `{"Width":133,"Height":44}` {
		t.Errorf("resize: %s", got)
	}
}

func FuzzDecodeText_RoundTrip(f *testing.F) {
	f.Add(byte(1), []byte("hello"))
	f.Add(byte(4), []byte{})
	f.Add(byte(2), []byte{0, 255, '\n'})
	f.Fuzz(func(t *testing.T, ch byte, payload []byte) {
		want := channel(ch % 5)
		message, _ := codec{text: true}.encode(want, append(make([]byte, headroom), payload...), nil)
		got, back, err := decodeText(message, nil)
		if err != nil || got != want || !bytes.Equal(back, payload) {
			t.Fatalf("%d %q was decoded as %d %q (%v)", want, payload, got, back, err)
		}
	})
}

func FuzzDecodeText(f *testing.F) {
	f.Add([]byte("1aGk="))
	f.Add([]byte("9aGk="))
	f.Add([]byte("1a"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) == 0 {
			return
		}
		if ch, _, err := decodeText(message, nil); err == nil && ch > chResize {
			t.Fatalf("%q was decoded as channel %d", message, ch)
		}
	})
}

func FuzzStatusOutcome(f *testing.F) {
	f.Add([]byte(success))
	f.Add([]byte(failure("7")))
	f.Add([]byte(`{"status":"success"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		explicit := bytes.Contains(raw, []byte("Success")) || bytes.Contains(raw, []byte(`\u`))
		if err := statusOutcome(raw); err == nil && !explicit {
			t.Fatalf("%q is a success", raw)
		}
	})
}

func TestStatusOutcome(t *testing.T) {
	const runc = `OCI runtime exec failed: exec failed: unable to start container process: `
	const start = `{"status":"Failure","reason":"InternalError","message":"error executing command in container: `
	for name, c := range map[string]struct {
		raw  string
		want error
	}{
		"success": {success, nil},
		"code 7":  {failure("7"), &ExitError{Code: 7}},
		"windows": {failure("3221225786"), &ExitError{Code: 3221225786}},
		"code that is not a number": {
			failure("x"),
			&RemoteError{Message: "command terminated with non-zero exit code", Reason: "NonZeroExitCode"},
		},
		"failure with code 0": {
			failure("0"),
			&RemoteError{Message: "command terminated with non-zero exit code", Reason: "NonZeroExitCode"},
		},
		"no such command": {
			start + `exec: \"x\": executable file not found in $PATH: unknown"}`,
			&RemoteError{
				Message: `error executing command in container: exec: "x": executable file not found in $PATH: unknown`,
				Reason:  "InternalError", Start: StartNotFound,
			},
		},
		"no such file": {
			start + `stat /x: no such file or directory"}`,
			&RemoteError{
				Message: `error executing command in container: stat /x: no such file or directory`,
				Reason:  "InternalError", Start: StartNotFound,
			},
		},
		"not executable": {
			start + `exec: \"/etc/passwd\": permission denied"}`,
			&RemoteError{
				Message: `error executing command in container: exec: "/etc/passwd": permission denied`,
				Reason:  "InternalError", Start: StartNotExecutable,
			},
		},
		"below a file": {
			start + runc + `exec: \"/f/x\": stat /f/x: not a directory: unknown"}`,
			&RemoteError{
				Message: `error executing command in container: ` + runc + `exec: "/f/x": stat /f/x: not a directory: unknown`,
				Reason:  "InternalError", Start: StartNotExecutable,
			},
		},
		"another failure": {
			`{"status":"Failure","message":"container not found (\"c\")"}`,
			&RemoteError{Message: `container not found ("c")`},
		},
		"empty object": {`{}`, &RemoteError{Message: `status that is neither success nor failure: {}`}},
		"not a status": {`boom`, &RemoteError{Message: `unreadable status: boom`}},
		"lower case": {
			`{"status":"success"}`, &RemoteError{Message: `status that is neither success nor failure: {"status":"success"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, statusOutcome([]byte(c.raw)), cmp.Comparer(sameError)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// sameError compares errors by their fields or messages.
func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var ea, eb *ExitError
	if errors.As(a, &ea) && errors.As(b, &eb) {
		return *ea == *eb
	}
	var ra, rb *RemoteError
	if errors.As(a, &ra) && errors.As(b, &rb) {
		return *ra == *rb
	}
	return a.Error() == b.Error()
}

func TestTextOutcome(t *testing.T) {
	const prefix = "command terminated with non-zero exit code: "
	for text, want := range map[string]error{
		"": nil,
		prefix + "error executing command [sh -c exit 7], exit code 7":            &ExitError{Code: 7},
		prefix + "command terminated with exit code 137\n":                        &ExitError{Code: 137},
		prefix + "exit status 2":                                                  &ExitError{Code: 2},
		prefix + "error executing command [sh -c echo exit code 9], exit code 11": &ExitError{Code: 11},
		"exit code 7 and more": &RemoteError{
			Message: "exit code 7 and more",
		},
		"exec: \"x\": executable file not found in $PATH": &RemoteError{
			Message: `exec: "x": executable file not found in $PATH`, Start: StartNotFound,
		},
	} {
		if diff := cmp.Diff(want, textOutcome([]byte(text)), cmp.Comparer(sameError)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}
