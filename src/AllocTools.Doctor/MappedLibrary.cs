namespace AllocTools.Doctor;

/// <summary>Where the libraries are that this process has loaded. proc_pid_maps(5).</summary>
internal static class MappedLibrary
{
    /// <summary>The file of a library that is loaded; null where none is.</summary>
    /// <param name="name">The start of its file's name, such as <c>libfabric.so</c>.</param>
    public static string? PathOf(string name) => !OperatingSystem.IsLinux() ? null : File.ReadLines("/proc/self/maps")
        .Where(l => l.Contains("/" + name, StringComparison.Ordinal))
        .Select(static l => l[l.IndexOf('/', StringComparison.Ordinal)..])
        .FirstOrDefault();
}
