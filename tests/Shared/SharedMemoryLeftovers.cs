using System.Globalization;

namespace AllocTools.Testing;

/// <summary>What libfabric's shm leaves of a process that was killed: <c>/dev/shm/alloctools-PID-...</c>, several MiB each.</summary>
internal static class SharedMemoryLeftovers
{
    private const string Folder = "/dev/shm";

    /// <summary>Removes those whose process is gone.</summary>
    public static void Remove()
    {
        if (!Directory.Exists(Folder))
            return;
        foreach (string path in Directory.EnumerateFiles(Folder, "alloctools-*"))
        {
            string owner = Path.GetFileName(path).Split('-')[1];
            if (int.TryParse(owner, NumberStyles.None, CultureInfo.InvariantCulture, out int process) && !Directory.Exists($"/proc/{process}"))
                TryDelete(path);
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another user's, or gone already.
        }
    }
}
