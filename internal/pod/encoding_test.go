package pod

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// encodingServer answers every request with a pod, or with a refusal if the pod
// is "missing", in the first encoding that the request accepts.
func encodingServer(t *testing.T, want *corev1.Pod, accepted *string) string {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codecs := serializer.NewCodecFactory(scheme)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*accepted = r.Header.Get("Accept")
		encoding, _, _ := strings.Cut(*accepted, ",")
		info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), encoding)
		if !ok {
			t.Errorf("unknown encoding %q", encoding)
			return
		}
		var answer runtime.Object = want
		w.Header().Set("Content-Type", encoding)
		if strings.HasSuffix(r.URL.Path, "/missing") {
			w.WriteHeader(http.StatusNotFound)
			answer = &metav1.Status{
				Status: metav1.StatusFailure, Message: "it is missing", Reason: metav1.StatusReasonNotFound, Code: 404,
			}
		}
		encoder := codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion)
		if err := encoder.Encode(answer, w); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestGet_Encoding(t *testing.T) {
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "1"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Stdin: true}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	var accepted string
	url := encodingServer(t, want, &accepted)
	for path, encoding := range map[string]string{
		"":                  runtime.ContentTypeProtobuf,
		"/":                 runtime.ContentTypeProtobuf,
		"/clusters/gateway": runtime.ContentTypeJSON,
	} {
		client, err := NewClient(&rest.Config{Host: url + path}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Get(t.Context(), "default", "web")
		if err != nil {
			t.Fatal(err)
		}
		got.TypeMeta = metav1.TypeMeta{}
		if d := cmp.Diff(want, got); d != "" || !strings.HasPrefix(accepted, encoding) {
			t.Errorf("path %q: accepted %q, %s", path, accepted, d)
		}
		if _, err := client.Get(t.Context(), "default", "missing"); !strings.Contains(fmt.Sprint(err), "it is missing") {
			t.Errorf("path %q: got %v", path, err)
		}
	}
}
