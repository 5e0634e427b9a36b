package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
)

// bodyLimit is the largest request body that is read, in bytes.
const bodyLimit = 3 << 20

func (s *Server) serveGet(w http.ResponseWriter, r *http.Request, c call, res metav1.APIResource) error {
	o, ok := s.store.get(res.Name, c.key())
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Group: c.group, Resource: c.resource}, c.name)
	}
	if pod, isPod := o.(*corev1.Pod); isPod && strings.HasPrefix(r.Header.Get("Accept"), runtime.ContentTypeProtobuf) {
		return writeProtobuf(w, pod)
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

// writeProtobuf writes a pod in the encoding of the real API server.
func writeProtobuf(w http.ResponseWriter, pod *corev1.Pod) error {
	var body bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(pod, &body); err != nil {
		return err
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	_, _ = w.Write(body.Bytes()) // the client may be gone
	return nil
}

func (s *Server) serveList(w http.ResponseWriter, r *http.Request, c call, res metav1.APIResource) error {
	match, err := c.matcher()
	if err != nil {
		return err
	}
	items, version := s.store.list(res.Name, match)
	meta := metav1.ListMeta{ResourceVersion: strconv.FormatInt(version, 10)}
	if items, meta.Continue, err = s.page(c, items, version); err != nil {
		return err
	}
	switch formOf(r.Header.Get("Accept"), res) {
	case formMetadata:
		writeJSON(w, http.StatusOK, metadataList(items, meta))
		return nil
	case formTable:
		writeJSON(w, http.StatusOK, podTable(items, meta, c.query.Get("includeObject")))
		return nil
	}
	writeJSON(w, http.StatusOK, struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           []object `json:"items"`
	}{metav1.TypeMeta{Kind: res.Kind + "List", APIVersion: groupVersion(c.group)}, meta, items})
	return nil
}

// page returns the items of the page that the parameters limit and continue
// request, and the token of the next page, or "". A token consists of the
// version and of the number of items on the pages before. Unlike a real server,
// the sandbox returns the later pages in their current state.
func (s *Server) page(c call, items []object, version int64) (page []object, next string, err error) {
	begin := 0
	if token := c.query.Get("continue"); token != "" {
		if _, err := fmt.Sscanf(token, "%d.%d", &version, &begin); err != nil {
			return nil, "", apierrors.NewBadRequest("continue key is not valid: " + err.Error())
		}
		if s.store.isExpired(version) {
			return nil, "", apierrors.NewResourceExpired("The provided continue parameter is too old")
		}
	}
	items = items[min(begin, len(items)):]
	limit, err := strconv.Atoi(cmp.Or(c.query.Get("limit"), "0"))
	if err != nil || limit < 0 {
		return nil, "", apierrors.NewBadRequest("invalid limit")
	}
	if limit == 0 || len(items) <= limit {
		return items, "", nil
	}
	return items[:limit], fmt.Sprintf("%d.%d", version, begin+limit), nil
}

// matcher returns a function that reports whether an object matches the
// namespace, name, labelSelector and fieldSelector of the request.
func (c call) matcher() (func(object) bool, error) {
	byLabel, err := labels.Parse(c.query.Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	byField, err := fields.ParseSelector(c.query.Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	known := fields.Set{}
	for _, o := range []object{&corev1.Pod{}, &corev1.Event{}, &certificatesv1.CertificateSigningRequest{}} {
		maps.Copy(known, fieldsOf(o))
	}
	for _, r := range byField.Requirements() {
		if _, ok := known[r.Field]; !ok {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", r.Field))
		}
	}
	if c.fault.ignoresSelectors() {
		byLabel, byField = labels.Everything(), fields.Everything()
	}
	return func(o object) bool {
		return (c.namespace == "" || o.GetNamespace() == c.namespace) && (c.name == "" || o.GetName() == c.name) &&
			byLabel.Matches(labels.Set(o.GetLabels())) && byField.Matches(fieldsOf(o))
	}, nil
}

func fieldsOf(o object) fields.Set {
	set := fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()}
	switch o := o.(type) {
	case *corev1.Pod:
		set["spec.nodeName"] = o.Spec.NodeName
		set["status.phase"] = string(o.Status.Phase)
	case *corev1.Event:
		set["involvedObject.uid"] = string(o.InvolvedObject.UID)
		set["type"] = o.Type
	case *certificatesv1.CertificateSigningRequest:
		set["spec.signerName"] = o.Spec.SignerName
	}
	return set
}

func (s *Server) serveCreate(w http.ResponseWriter, r *http.Request, c call) error {
	pod := &corev1.Pod{}
	if err := json.NewDecoder(io.LimitReader(r.Body, bodyLimit)).Decode(pod); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	pod.Namespace = c.namespace
	pod.Status = corev1.PodStatus{}
	if pod.Name == "" {
		pod.Name = pod.GenerateName + randomName(5)
	}
	if _, ok := s.store.get("pods", keyOf(pod)); ok {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "pods"}, pod.Name)
	}
	if len(pod.Spec.Containers) == 0 {
		return apierrors.NewBadRequest("spec.containers: Required value")
	}
	if err := s.checkPodSecurity(pod); err != nil {
		return err
	}
	if err := s.addPod(pod); err != nil {
		return err
	}
	s.records.create()
	if c.fault != nil && c.fault.Withhold {
		<-r.Context().Done()
		return nil
	}
	o, _ := s.store.get("pods", keyOf(pod))
	writeJSON(w, http.StatusCreated, o)
	return nil
}

func (s *Server) serveDelete(w http.ResponseWriter, r *http.Request, c call) error {
	opts := metav1.DeleteOptions{}
	data, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit))
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &opts); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	grace := 30 * time.Second
	if v := c.query.Get("gracePeriodSeconds"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
		opts.GracePeriodSeconds = &n
	}
	if opts.GracePeriodSeconds != nil {
		grace = time.Duration(*opts.GracePeriodSeconds) * time.Second
	}
	o, ok := s.store.get("pods", c.key())
	if ok && opts.Preconditions != nil && opts.Preconditions.UID != nil && *opts.Preconditions.UID != o.GetUID() {
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, c.name, fmt.Errorf(
			"the UID in the precondition (%s) does not match the UID in record (%s)", *opts.Preconditions.UID, o.GetUID()))
	}
	if err := s.deletePod(c.key(), grace); err != nil {
		return err
	}
	if now, still := s.store.get("pods", c.key()); still && now.GetUID() == o.GetUID() {
		o = now
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

// serveLog sends the last 4 MiB that the main process of the container printed,
// in whole lines.
func (s *Server) serveLog(w http.ResponseWriter, r *http.Request, c call) error {
	pod, err := s.pod(c.key())
	if err != nil {
		return err
	}
	name, err := chooseContainer(pod, c.query.Get("container"))
	if err != nil {
		return err
	}
	o := logOptions{follow: c.isTrue("follow"), timestamps: c.isTrue("timestamps"), tail: -1}
	if v := c.query.Get("sinceTime"); v != "" {
		if o.since, err = time.Parse(time.RFC3339, v); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	if v := c.query.Get("tailLines"); v != "" {
		if o.tail, err = strconv.Atoi(v); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	ct := s.container(c.key(), name)
	if ct != nil && !ct.broadcast.exists() {
		return apierrors.NewBadRequest("failed to try resolving symlinks in path: no such file or directory")
	}
	w.Header().Set("Content-Type", "text/plain")
	if ct != nil {
		control := http.NewResponseController(w)
		ct.broadcast.send(w, o, func() { _ = control.Flush() }, r.Context().Done()) // Flush fails if the client has gone
	}
	return nil
}

func (s *Server) pod(key types.NamespacedName) (*corev1.Pod, error) {
	o, _ := s.store.get("pods", key)
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, key.Name)
	}
	return pod, nil
}
