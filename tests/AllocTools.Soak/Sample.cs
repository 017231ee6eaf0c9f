using System.Globalization;
using System.Runtime;
using System.Runtime.InteropServices;

namespace AllocTools.Soak;

/// <summary>The resources of a process at a moment at which nothing is under way.</summary>
internal sealed partial record Sample
{
    /// <summary>The time since the start of the run.</summary>
    public TimeSpan Time { get; init; }

    /// <summary>The bytes of live objects, after a full collection.</summary>
    public long ManagedBytes { get; init; }

    /// <summary>The bytes that malloc(3) has allocated and that were not freed, in all arenas: mallinfo2(3).</summary>
    public long NativeBytes { get; init; }

    /// <summary>VmRSS of proc_pid_status(5), after malloc_trim(3).</summary>
    public long ResidentBytes { get; init; }

    /// <summary>The length of all mappings that may be accessed; the others are only reserved addresses.</summary>
    public long MappedBytes { get; init; }

    /// <summary>Open file descriptors.</summary>
    public long Descriptors { get; init; }

    /// <summary>Threads, native ones included.</summary>
    public long Threads { get; init; }

    /// <summary>
    /// Registrations that the provider has open for the pool: slabs, direct regions, the caller's memory, and those of
    /// exposures.
    /// </summary>
    public long Registrations { get; init; }

    /// <summary>Buffers that are rented or in quarantine, and leases of the registration cache. An exposure holds its buffer.</summary>
    public long Held { get; init; }

    /// <summary>Connections that are open or ending.</summary>
    public long Connections { get; init; }

    /// <summary>All bytes that the pool has registered, including the caller's memory and those of exposures.</summary>
    public long RegisteredBytes { get; init; }

    /// <summary>
    /// How many registrations the live buffers may keep: for each, that of its slab or region, and that of its
    /// exposure.
    /// </summary>
    public long KeptRegistrations { get; init; }

    /// <summary>The maximum number of bytes in these registrations.</summary>
    public long KeptBytes { get; init; }

    /// <summary>Takes a sample of this process.</summary>
    public static Sample Take(TimeSpan time, RmaPoolStatistics pool, int connections)
    {
        // Collect twice: objects with finalizers are freed by the collection after the finalizer has run.
        for (int i = 0; i < 2; i++)
        {
            GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }
        _ = malloc_trim(0);
        MallInfo native = mallinfo2();
        string[] status = File.ReadAllLines("/proc/self/status");
        return new Sample
        {
            Time = time,
            ManagedBytes = GC.GetTotalMemory(forceFullCollection: false),
            NativeBytes = (long)(native.InUse + native.Mapped),
            ResidentBytes = Field(status, "VmRSS:") << 10,
            MappedBytes = Mapped(),
            // The folder itself is open while it is read.
            Descriptors = Directory.GetFileSystemEntries("/proc/self/fd").Length - 1,
            Threads = Field(status, "Threads:"),
            Registrations = pool.Registrations - pool.Deregistrations,
            Held = pool.RentedBuffers + pool.QuarantinedBuffers + (pool.RegistrationCache?.Leases ?? 0),
            Connections = connections,
            RegisteredBytes = pool.RegisteredBytes,
            KeptRegistrations = 2 * pool.SizeClasses.Sum(Living),
            KeptBytes = pool.RentedBytes + pool.SizeClasses.Where(static c => c.Slabs > 0).Sum(static c => Living(c) * (c.RegisteredBytes / c.Slabs)),
        };
    }

    private static long Living(RmaSizeClassStatistics sizeClass) => sizeClass.RentedBuffers + sizeClass.QuarantinedBuffers;

    private static long Field(string[] status, string name) =>
        long.Parse(Array.Find(status, l => l.StartsWith(name, StringComparison.Ordinal))!.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);

    /// <summary>proc_pid_maps(5): "from-to rights …".</summary>
    private static long Mapped()
    {
        long sum = 0;
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            int dash = line.IndexOf('-'), space = line.IndexOf(' ');
            if (!line.AsSpan(space + 1).StartsWith("---"))
                sum += (long)(ulong.Parse(line.AsSpan(dash + 1, space - dash - 1), NumberStyles.HexNumber, CultureInfo.InvariantCulture) - ulong.Parse(line.AsSpan(0, dash), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }
        return sum;
    }

    [LibraryImport("libc")]
    private static partial int malloc_trim(nuint pad);

    [LibraryImport("libc")]
    private static partial MallInfo mallinfo2();

    /// <summary>struct mallinfo2 of malloc.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MallInfo
    {
#pragma warning disable CS0649 // Filled by the C library.
        public nuint Arena, FreeChunks, SmallBlocks, MappedBlocks, Mapped, MostUsed, FreeSmall, InUse, Free, KeepCost;
#pragma warning restore CS0649
    }
}
