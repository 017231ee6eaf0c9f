using Microsoft.Win32.SafeHandles;

namespace AllocTools.Interop;

/// <summary>The rights of this process on a range of its memory.</summary>
/// <param name="UnmappedAt">The number of bytes from the start of the range to the first one that is not mapped; null
/// if all are.</param>
/// <param name="IsReadable">Whether the whole range may be read.</param>
/// <param name="IsWritable">Whether the whole range may be written.</param>
internal readonly record struct MemoryRights(long? UnmappedAt, bool IsReadable, bool IsWritable)
{
    public static MemoryRights All => new(null, true, true);
}

/// <summary>The process's mappings, as the kernel reports them (proc_pid_maps(5)).</summary>
/// <remarks>
/// The table is read, because no other way leaves the memory untouched: a trial write changes bytes or makes pages
/// private, and madvise(2) fills holes. Reading costs about a millisecond for each 1,000 mappings below the range.
/// </remarks>
internal static class MemoryMap
{
    private const string Table = "/proc/self/maps";

    /// <summary>Returns the rights of the process on a range; null if the system does not report them.</summary>
    public static MemoryRights? RightsOf(nint address, long length)
    {
        if (!OperatingSystem.IsLinux())
            return null;
        try
        {
            using SafeFileHandle table = File.OpenHandle(Table);
            return RightsOf(table, (ulong)address, (ulong)length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // This is a container without /proc.
            return null;
        }
    }

    private static MemoryRights RightsOf(SafeFileHandle table, ulong address, ulong length)
    {
        ulong end = address + length < address ? ulong.MaxValue : address + length;
        ulong known = address;
        MemoryRights rights = MemoryRights.All;
        byte[] text = new byte[32 << 10];
        int filled = 0;
        long position = 0;
        // The kernel writes whole lines, in the order of their addresses. A mapping that others are merged with may occur twice.
        while (known < end && RandomAccess.Read(table, text.AsSpan(filled), position) is > 0 and int read)
        {
            position += read;
            filled += read;
            int start = 0;
            for (int lineLength; known < end && (lineLength = text.AsSpan(start, filled - start).IndexOf((byte)'\n')) >= 0; start += lineLength + 1)
            {
                (ulong from, ulong to, bool canRead, bool canWrite) = Parse(text.AsSpan(start, lineLength));
                if (to <= known)
                    continue;
                if (from > known)
                    return rights with { UnmappedAt = (long)(known - address) };
                rights = rights with { IsReadable = rights.IsReadable && canRead, IsWritable = rights.IsWritable && canWrite };
                known = to;
            }
            text.AsSpan(start, filled - start).CopyTo(text);
            filled -= start;
        }
        return known < end ? rights with { UnmappedAt = (long)(known - address) } : rights;
    }

    /// <summary>Parses the start of a line, such as <c>7f1c2a000000-7f1c2a021000 rw-p</c>.</summary>
    private static (ulong From, ulong To, bool CanRead, bool CanWrite) Parse(ReadOnlySpan<byte> line)
    {
        int dash = line.IndexOf((byte)'-');
        int space = line.IndexOf((byte)' ');
        return (Hex(line[..dash]), Hex(line[(dash + 1)..space]), line[space + 1] == 'r', line[space + 2] == 'w');
    }

    private static ulong Hex(ReadOnlySpan<byte> digits) => ulong.Parse(digits, System.Globalization.NumberStyles.AllowHexSpecifier, System.Globalization.CultureInfo.InvariantCulture);
}
