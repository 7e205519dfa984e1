package directory

// recent maps keys to values and holds the newest most of them.
type recent[K comparable, V any] struct {
	most  int
	m     map[K]V
	order []K // oldest first
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{most: most, m: map[K]V{}}
}

func (r *recent[K, V]) get(k K) (V, bool) { v, ok := r.m[k]; return v, ok }

func (r *recent[K, V]) put(k K, v V) {
	r.remove(k)
	r.m[k] = v
	r.order = append(r.order, k)
	if len(r.order) > r.most {
		delete(r.m, r.order[0])
		r.order = r.order[1:]
	}
}

func (r *recent[K, V]) remove(k K) {
	if _, ok := r.m[k]; !ok {
		return
	}
	delete(r.m, k)
	for i := range r.order {
		if r.order[i] == k {
			r.order = append(r.order[:i], r.order[i+1:]...)
			return
		}
	}
}
