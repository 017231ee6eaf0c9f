using System.Globalization;

namespace AllocTools.Testing;

/// <summary>
/// Files that libfabric's shm leaves behind when a process is killed: <c>/dev/shm/alloctools-PID-...</c>, several MiB
/// each.
/// </summary>
internal static class SharedMemoryLeftovers
{
    private const string Folder = "/dev/shm";

    /// <summary>Removes the files whose process is gone.</summary>
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
            // The file belongs to another user, or is gone already.
        }
    }
}
