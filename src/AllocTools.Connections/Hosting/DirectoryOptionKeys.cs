using AllocTools.Connections.Directories;
using AllocTools.Providers;

namespace AllocTools.Connections.Hosting;

/// <summary>Every key of a directory's section. A test compares it with the properties of the options.</summary>
internal static class DirectoryOptionKeys
{
    public static RmaOptionKeys<RmaDirectoryOptions> All { get; } = new RmaOptionKeys<RmaDirectoryOptions>()
        .Text(nameof(RmaDirectoryOptions.Peers), (o, v) => o.Peers = v)
        .Duration(nameof(RmaDirectoryOptions.Lease), (o, v) => o.Lease = v)
        .Duration(nameof(RmaDirectoryOptions.RequestTimeout), (o, v) => o.RequestTimeout = v)
        .Duration(nameof(RmaDirectoryOptions.WatchInterval), (o, v) => o.WatchInterval = v)
        .Size(nameof(RmaDirectoryOptions.MaxEntryBytes), (o, v) => o.MaxEntryBytes = v)
        .Integer(nameof(RmaDirectoryOptions.MaxEntriesPerName), (o, v) => o.MaxEntriesPerName = v)
        .Integer(nameof(RmaDirectoryOptions.MaxEntries), (o, v) => o.MaxEntries = v)
        .Size(nameof(RmaDirectoryOptions.MaxBytes), (o, v) => o.MaxBytes = v);
}
