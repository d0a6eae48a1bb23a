# Worst-case stack of any entry point, from gcc's -fcallgraph-info=su (VCG): deepest path of summed frames.
# Calls through pointers (the user's callbacks) and C library functions count 0, as fwb.h says.
function quoted(line, key,   at) {
    at = index(line, key ": \"")
    if (!at) return ""
    line = substr(line, at + length(key) + 3)
    return substr(line, 1, index(line, "\"") - 1)
}
/^node:/ {
    label = quoted($0, "label")
    if (match(label, /[0-9]+ bytes/)) frame[quoted($0, "title")] = substr(label, RSTART, RLENGTH) + 0
}
/^edge:/ { edges++; from[edges] = quoted($0, "sourcename"); to[edges] = quoted($0, "targetname") }
function deepest(name,   i, best, depth) {
    if (name in known) return known[name]
    known[name] = frame[name]
    for (i = 1; i <= edges; i++)
        if (from[i] == name) { depth = deepest(to[i]); if (depth > best) best = depth }
    return known[name] = frame[name] + best
}
END {
    for (name in frame) { depth = deepest(name); if (depth > worst) worst = depth }
    print worst
}
