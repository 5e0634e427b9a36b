package sandbox

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
)

// form is the form in which the server returns a list.
type form int

const (
	formWhole    form = iota // whole objects
	formMetadata             // a PartialObjectMetadataList
	formTable                // a Table, which `kubectl get` prints; only of pods
)

// formOf returns the first form in the header Accept that the sandbox supports.
func formOf(accept string, res metav1.APIResource) form {
	for part := range strings.SplitSeq(accept, ",") {
		switch {
		case !strings.Contains(part, ";as="):
			return formWhole
		case strings.Contains(part, ";as=PartialObjectMetadataList;"):
			return formMetadata
		case strings.Contains(part, ";as=Table;") && res.Name == pods:
			return formTable
		}
	}
	return formWhole
}

// metaVersion is the API version of the forms.
var metaVersion = metav1.SchemeGroupVersion.String()

func metadataOf(o object) metav1.PartialObjectMetadata {
	p := metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: metaVersion},
	}
	if meta, ok := o.(metav1.ObjectMetaAccessor).GetObjectMeta().(*metav1.ObjectMeta); ok {
		p.ObjectMeta = *meta
	}
	return p
}

func metadataList(items []object, meta metav1.ListMeta) *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: metaVersion}, ListMeta: meta,
		Items: make([]metav1.PartialObjectMetadata, len(items)),
	}
	for i, o := range items {
		list.Items[i] = metadataOf(o)
	}
	return list
}

// podTable returns the table of pods. The parameter include is the parameter
// includeObject of the request: None, Metadata (the default) or Object.
func podTable(items []object, meta metav1.ListMeta, include string) *metav1.Table {
	table := &metav1.Table{
		TypeMeta: metav1.TypeMeta{Kind: "Table", APIVersion: metaVersion}, ListMeta: meta,
		Rows: make([]metav1.TableRow, len(items)),
	}
	for _, name := range []string{"Name", "Ready", "Status", "Restarts", "Age"} {
		table.ColumnDefinitions = append(table.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for i, o := range items {
		row := &table.Rows[i]
		row.Cells = podCells(o)
		switch metav1.IncludeObjectPolicy(include) {
		case metav1.IncludeNone:
		case metav1.IncludeObject:
			row.Object = runtime.RawExtension{Object: o}
		default:
			meta := metadataOf(o)
			row.Object = runtime.RawExtension{Object: &meta}
		}
	}
	return table
}

// podCells returns the name, the ready containers, the status, the restarts and
// the age of a pod.
func podCells(o object) []any {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return []any{o.GetName()}
	}
	status, ready, restarts := string(pod.Status.Phase), 0, int32(0)
	for i := range pod.Status.ContainerStatuses {
		s := &pod.Status.ContainerStatuses[i]
		restarts += s.RestartCount
		switch {
		case s.Ready:
			ready++
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			status = s.State.Waiting.Reason
		case s.State.Terminated != nil && s.State.Terminated.Reason != "":
			status = s.State.Terminated.Reason
		}
	}
	if pod.DeletionTimestamp != nil {
		status = "Terminating"
	}
	age := "<unknown>"
	if !pod.CreationTimestamp.IsZero() {
		age = duration.HumanDuration(time.Since(pod.CreationTimestamp.Time))
	}
	return []any{pod.Name, fmt.Sprintf("%d/%d", ready, len(pod.Spec.Containers)), status, restarts, age}
}
