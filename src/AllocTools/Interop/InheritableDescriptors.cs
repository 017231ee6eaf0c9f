using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>The descriptors of this process that a child would inherit: those without FD_CLOEXEC (fcntl(2)).</summary>
internal static unsafe partial class InheritableDescriptors
{
    private const int GetFlags = 1;
    private const int SetFlags = 2;
    private const int CloseOnExec = 1;

    /// <summary>The first descriptor after standard input, output and error.</summary>
    private const int First = 3;

    /// <summary>
    /// The number of consecutive free descriptors after which no more are assumed to be in use, because the kernel
    /// assigns the lowest free number.
    /// </summary>
    private const int Gap = 1024;

    private const int SizeMask = 0x200;
    private const int StatusBytes = 256;
    private const int SizeOffset = 40;

    private static bool _hasNoCount = !OperatingSystem.IsLinux();

    /// <summary>
    /// Returns the number of descriptors of this process, by one system call; 0 if the kernel does not report it
    /// (before Linux 6.2, proc(5)).
    /// </summary>
    public static ulong Count()
    {
        if (_hasNoCount)
            return 0;
        byte* status = stackalloc byte[StatusBytes];
        try
        {
            return statx(-1, "/proc/self/fd", 0, SizeMask, status) == 0 ? *(ulong*)(status + SizeOffset) : 0;
        }
        catch (EntryPointNotFoundException)
        {
            // This is musl before 1.2.5.
            _hasNoCount = true;
            return 0;
        }
    }

    /// <summary>
    /// Finds the sockets, event queues and events (socket(2), epoll(7), eventfd(2)) that a child would inherit, each
    /// with the kernel's name for it.
    /// </summary>
    public static List<(int Descriptor, string Name)> Find()
    {
        List<(int, string)> found = [];
        if (!OperatingSystem.IsLinux())
            return found;
        int free = 0;
        for (int descriptor = First; free < Gap; descriptor++)
        {
            int flags = fcntl(descriptor, GetFlags, 0);
            free = flags < 0 ? free + 1 : 0;
            if (flags >= 0 && (flags & CloseOnExec) == 0 && NameOf(descriptor) is { } name)
                found.Add((descriptor, name));
        }
        return found;
    }

    /// <summary>
    /// Prevents children from inheriting a descriptor. If it was closed meanwhile and its number was reused, the new
    /// descriptor is one of .NET's, which already has the flag.
    /// </summary>
    public static void Close(int descriptor) => _ = fcntl(descriptor, SetFlags, CloseOnExec);

    private static string? NameOf(int descriptor)
    {
        try
        {
            return new FileInfo($"/proc/self/fd/{descriptor}").LinkTarget is { } name
                && (name.StartsWith("socket:", StringComparison.Ordinal) || name is "anon_inode:[eventpoll]" or "anon_inode:[eventfd]") ? name : null;
        }
        catch (IOException)
        {
            // The descriptor was closed meanwhile.
            return null;
        }
    }

    // These two commands don't wait, and a check makes hundreds of them.
    [LibraryImport("libc")]
    [SuppressGCTransition]
    private static partial int fcntl(int descriptor, int command, int argument);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int directory, string path, int flags, uint mask, byte* status);
}
