using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>Limits of this process (getrlimit(2)). Null means that there is none, or that the system does not report it.</summary>
internal static unsafe partial class ResourceLimits
{
    /// <summary>RLIMIT_MEMLOCK, in bytes.</summary>
    public static (long? Soft, long? Hard) MemoryLock => Read(OperatingSystem.IsMacOS() ? 6 : 8);

    /// <summary>RLIMIT_NOFILE: one more than the largest file descriptor.</summary>
    public static (long? Soft, long? Hard) OpenFiles => Read(OperatingSystem.IsMacOS() ? 8 : 7);

    private static (long? Soft, long? Hard) Read(int resource)
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
            return default;
        Limit limit;
        return getrlimit(resource, &limit) == 0 ? (InBounds(limit.Soft), InBounds(limit.Hard)) : default;

        static long? InBounds(ulong value) => value >= long.MaxValue ? null : (long)value;
    }

    [LibraryImport("libc")]
    private static partial int getrlimit(int resource, Limit* limit);

    [StructLayout(LayoutKind.Sequential)]
    private struct Limit
    {
        public ulong Soft;
        public ulong Hard;
    }
}
