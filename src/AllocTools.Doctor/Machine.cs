using System.Globalization;
using AllocTools.Interop;
using Microsoft.Win32.SafeHandles;

namespace AllocTools.Doctor;

/// <summary>The machine as the checks see it: the system's files, below a root, and information that only the kernel has.</summary>
/// <param name="root">The root of /proc, /sys and /dev; tests place fake ones below another folder.</param>
internal sealed class Machine(string root = "/")
{
    private const string Descriptors = "/proc/self/fd";

    /// <summary>RLIMIT_MEMLOCK, soft and hard, in bytes; null for none.</summary>
    public (long? Soft, long? Hard) MemoryLockLimit { get; init; } = ResourceLimits.MemoryLock;

    /// <summary>RLIMIT_NOFILE, soft and hard; null for none.</summary>
    public (long? Soft, long? Hard) OpenFilesLimit { get; init; } = ResourceLimits.OpenFiles;

    /// <summary>The rights of this process, whatever the root is, because /proc/self below another root is not this process.</summary>
    public ProcessRights? Rights { get; init; } = ProcessRights.Read();

    /// <summary>Returns the number of files that this process has open.</summary>
    public Func<int> CountOpenFiles { get; init; } = static () => Directory.Exists(Descriptors) ? Directory.EnumerateFileSystemEntries(Descriptors).Count() : 0;

    /// <summary>Locks a number of bytes of new memory and unlocks them. Returns 0 or the system's error number.</summary>
    public Func<long, int> TryLock { get; init; } = LockAndUnlock;

    /// <summary>Whether filters of system calls let a process copy memory (process_vm_readv(2)).</summary>
    public Func<bool> MayCopyMemory { get; init; } = KernelCopies.AllowedByFilters;

    /// <summary>Reads the environment.</summary>
    public Func<string, string?> Variable { get; init; } = Environment.GetEnvironmentVariable;

    /// <summary>Returns the path of a system's file below the root.</summary>
    public string PathOf(string path) => Path.Combine(root, path.TrimStart('/'));

    public bool Exists(string path) => Path.Exists(PathOf(path));

    /// <summary>
    /// Returns a file's text without surrounding white space; null if the file does not exist or can't be read, like
    /// some files of sysfs.
    /// </summary>
    public string? Read(string path)
    {
        try
        {
            return File.ReadAllText(PathOf(path)).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Returns the number in a file; null if there is none.</summary>
    public long? ReadNumber(string path) => long.TryParse(Read(path), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) ? number : null;

    /// <summary>Returns the names in a folder, in order; none if it does not exist or can't be read.</summary>
    public string[] List(string folder)
    {
        try
        {
            return [.. Directory.EnumerateFileSystemEntries(PathOf(folder)).Select(static p => Path.GetFileName(p)).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>The devices of Slingshot in /dev, such as <c>cxi0</c>.</summary>
    public string[] CxiDevices => [.. List("/dev").Where(static n => n.StartsWith("cxi", StringComparison.Ordinal))];

    /// <summary>Returns a value of /proc/meminfo: in bytes if it has a unit, otherwise a number; null if it does not exist.</summary>
    public long? MemoryInfo(string name)
    {
        foreach (string line in (Read("/proc/meminfo") ?? "").Split('\n'))
        {
            string[] words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 2 && words[0] == name + ":" && long.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out long value))
                return words.Length > 2 && words[2] == "kB" ? value * 1024 : value;
        }
        return null;
    }

    /// <summary>Returns why this process may not open a device for reading and writing; null if it may.</summary>
    public string? WhyNotOpened(string path)
    {
        try
        {
            using SafeFileHandle file = File.OpenHandle(PathOf(path), FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    private static int LockAndUnlock(long bytes)
    {
        int error = SystemPages.Map((nuint)bytes, out nint address);
        if (error != 0)
            return error;
        try
        {
            error = SystemPages.Lock(address, (nuint)bytes);
            if (error == 0)
                _ = SystemPages.Unlock(address, (nuint)bytes);
            return error;
        }
        finally
        {
            _ = SystemPages.Unmap(address, (nuint)bytes);
        }
    }
}
