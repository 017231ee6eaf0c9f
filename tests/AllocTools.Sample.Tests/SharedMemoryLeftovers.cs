using System.Globalization;

namespace AllocTools.Sample.Tests;

/// <summary>What libfabric's shm leaves of a process that was killed: <c>/dev/shm/PID:...</c>, 16 MiB each.</summary>
/// <remarks>A later process with the same number would get FI_EBUSY from libfabric 1.17, since the name has an owner that lives: itself.</remarks>
internal static class SharedMemoryLeftovers
{
    private const string Folder = "/dev/shm";

    /// <summary>Removes those whose process is gone.</summary>
    public static void Remove()
    {
        if (!Directory.Exists(Folder))
            return;
        foreach (string path in Directory.EnumerateFiles(Folder, "*:*"))
        {
            string owner = Path.GetFileName(path).Split(':')[0];
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
