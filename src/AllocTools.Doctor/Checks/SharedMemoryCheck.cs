using System.Text.Json.Nodes;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks /dev/shm, which shm needs, by writing to it.</summary>
internal sealed class SharedMemoryCheck() : Check("shm")
{
    private const string Folder = "/dev/shm";

    /// <summary>The size of an endpoint's file (libfabric 1.17), and the free space that libfabric requires for each processor.</summary>
    private const long OfEndpoint = 16L << 20;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        Machine machine = examination.Machine;
        string folder = machine.PathOf(Folder);
        if (!Directory.Exists(folder))
        {
            yield return Judge(examination, $"There is no {Folder}; the provider shm needs it", $"Mount it: `mount -t tmpfs -o size=1g tmpfs {Folder}` as root");
            yield break;
        }
        string? written = TryWrite(folder);
        var drive = new DriveInfo(folder);
        (long size, long free) = (drive.TotalSize, drive.AvailableFreeSpace);
        int processors = Math.Max(1, machine.List("/sys/devices/system/cpu").Count(static n => n.StartsWith("cpu", StringComparison.Ordinal) && n.Length > 3 && n.AsSpan(3).IndexOfAnyExceptInRange('0', '9') < 0));
        long needed = OfEndpoint * processors;
        string options = MountOptions(machine);
        string[] left = [.. Directory.EnumerateFiles(folder).Select(static p => Path.GetFileName(p)).Where(static n => n.StartsWith("alloctools-", StringComparison.Ordinal) || n.StartsWith("fi_shm", StringComparison.Ordinal))];
        var facts = new JsonObject { ["sizeBytes"] = size, ["freeBytes"] = free, ["neededBytes"] = needed, ["neededForOneEndpointBytes"] = needed + OfEndpoint, ["options"] = options, ["files"] = left.Length };
        // The used space stays used, and an endpoint needs its own in addition.
        long whole = (needed + OfEndpoint + size - free + (1L << 20) - 1) >> 20;
        string forOne = $"an endpoint of shm needs {InWords.Bytes(needed + OfEndpoint)} here: {InWords.Bytes(OfEndpoint)} for each of {InWords.Count(processors, "processor", "processors")}, and as much for itself and for each further endpoint";
        string enlarge = examination.Surroundings.Container switch
        {
            null => $"Enlarge it: `mount -o remount,size={whole}m {Folder}` as root",
            "kubernetes" => $"Mount an emptyDir volume of medium Memory at {Folder}, with a sizeLimit of {whole}Mi or more",
            _ => $"Start the container with `--shm-size={whole}m`",
        };
        if (written is not null)
            yield return Judge(examination, $"Nothing can be written to {Folder}: {written}", free < OfEndpoint ? enlarge : $"Let this user write there: mode 1777 (`chmod 1777 {Folder}` as root), mounted rw", facts);
        else if (free < needed)
            yield return Judge(examination, $"{Folder} has {InWords.About(free)} free of {InWords.About(size)}; libfabric offers shm only while {InWords.Bytes(needed)} are free, and {forOne}", enlarge, facts);
        else
            yield return Ok($"{Folder} can be written to, and has {InWords.About(free)} free of {InWords.About(size)}{(options.Length == 0 ? "" : $" ({options})")}; {forOne}", facts);
        if (left.Length > 0)
            yield return Ok($"Endpoints have {InWords.Count(left.Length, "file", "files")} in {Folder}, such as {left[0]}; those of processes that were killed go when the next endpoint of the same user opens");
    }

    /// <summary>Reports a problem only if the settings name shm; otherwise a warning.</summary>
    private Finding Judge(Examination examination, string message, string advice, JsonObject? facts = null) =>
        examination.NamesFabric("shm") ? Fail(message, advice, facts) : Warn(message, advice, facts);

    /// <summary>Writes as many pages as an endpoint writes to its file immediately.</summary>
    /// <returns>Why this is not possible; null if it is.</returns>
    private static string? TryWrite(string folder)
    {
        const int AtOnce = 4 << 20;
        string path = Path.Combine(folder, $"alloctools-doctor-{Environment.ProcessId}-{Guid.NewGuid():N}");
        try
        {
            using FileStream file = new(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 0, FileOptions.DeleteOnClose);
            byte[] bytes = new byte[AtOnce];
            Array.Fill(bytes, (byte)0xA5);
            file.Write(bytes);
            file.Position = 0;
            byte[] back = new byte[AtOnce];
            file.ReadExactly(back);
            return back.AsSpan().SequenceEqual(bytes) ? null : "what was read is not what was written";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    /// <summary>Returns the mount options, such as <c>noexec, nosuid</c>, which don't affect shared memory of libfabric and UCX.</summary>
    private static string MountOptions(Machine machine)
    {
        string[]? mount = (machine.Read("/proc/self/mounts") ?? "").Split('\n').Select(static l => l.Split(' ')).LastOrDefault(static w => w.Length > 3 && w[1] == Folder);
        return mount is null ? "" : string.Join(", ", mount[3].Split(',').Intersect(["ro", "noexec", "nosuid", "nodev"]));
    }
}
