using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AllocTools.Interop;

/// <summary>
/// Locks whole files until their process ends (flock(2)), finds their owner, allocates their space and removes their
/// names. Linux only.
/// </summary>
/// <remarks>Files are opened by system calls, because <see cref="File.OpenHandle"/> takes a lock of its own on a file that it opens.</remarks>
internal static unsafe partial class FileLocks
{
    public const int NotThere = 2;
    public const int NoSpace = 28;

    private const int Exclusive = 2;
    private const int Shared = 1;
    private const int NonBlocking = 4;
    private const int Unlock = 8;
    private const int WouldBlock = 11;
    private const int CloseOnExec = 0x80000;
    private const int CurrentFolder = -100;
    private const uint WithOwner = 8;

    /// <summary>The user that this process runs as.</summary>
    public static uint CurrentUser => geteuid();

    /// <summary>Opens a file or folder for reading. Child processes don't inherit the handle.</summary>
    /// <param name="path">The path.</param>
    /// <param name="error">The errno if null is returned.</param>
    public static SafeFileHandle? Open(string path, out int error) => Open(path, 0, out error);

    /// <summary>Like <see cref="Open(string, out int)"/>, but for reading and writing.</summary>
    public static SafeFileHandle? OpenForWriting(string path, out int error) => Open(path, 2, out error);

    /// <summary>Locks a file exclusively for this handle. Returns false if another handle has a lock.</summary>
    public static bool TryLock(SafeFileHandle file) => flock(file, Exclusive | NonBlocking) == 0;

    /// <summary>Releases a lock. Closing the file does that only once no part of it is mapped any more.</summary>
    public static void Release(SafeFileHandle file) => _ = flock(file, Unlock);

    /// <summary>Whether any process, in any container, holds an exclusive lock on the file.</summary>
    public static bool IsLocked(SafeFileHandle file)
    {
        if (flock(file, Shared | NonBlocking) != 0)
            return Marshal.GetLastPInvokeError() == WouldBlock;
        _ = flock(file, Unlock);
        return false;
    }

    /// <summary>Backs the whole file with memory or blocks, so that accessing it can't fail later.</summary>
    /// <returns>0, or the errno.</returns>
    public static int Allocate(SafeFileHandle file, long length) => posix_fallocate(file, 0, length);

    /// <summary>Returns the number of the user who owns a file; null if the file does not exist.</summary>
    public static uint? OwnerOf(string path)
    {
        Status status;
        return statx(CurrentFolder, path, 0, WithOwner, &status) == 0 ? status.Owner : null;
    }

    /// <summary>Removes a file's name, if it still has it.</summary>
    public static void Remove(string path) => _ = unlink(path);

    private static SafeFileHandle? Open(string path, int mode, out int error)
    {
        int descriptor = open(path, mode | CloseOnExec);
        error = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int flock(SafeFileHandle file, int operation);

    [LibraryImport("libc")]
    private static partial int posix_fallocate(SafeFileHandle file, long offset, long length);

    [LibraryImport("libc")]
    private static partial uint geteuid();

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int unlink(string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int folder, string path, int flags, uint mask, Status* status);

    /// <summary>A <c>struct statx</c>, of which only the owner is read.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Status
    {
        [FieldOffset(20)]
        public uint Owner;
    }
}
