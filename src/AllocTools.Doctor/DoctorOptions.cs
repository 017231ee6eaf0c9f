using Microsoft.Extensions.Configuration;

namespace AllocTools.Doctor;

/// <summary>What <see cref="DoctorCommand.Run"/> examines besides the machine, and how it reports.</summary>
public sealed class DoctorOptions
{
    /// <summary>A pool's section, as it is given to <c>AddRmaMemoryPool</c>; null: the machine alone is examined.</summary>
    public IConfigurationSection? Section { get; set; }

    /// <summary>Where that section stands, for people. Default: its path.</summary>
    public string? Place { get; set; }

    /// <summary>Why the file of the settings can't be read: a problem of the report. <see cref="Section"/> is null then.</summary>
    internal string? SettingsFault { get; set; }

    /// <summary>
    /// The class that <c>AddRmaMemoryPool</c> names, which no section says. Default: <see cref="ProviderKind.Libfabric"/>.
    /// </summary>
    public ProviderKind Provider { get; set; }

    /// <summary>
    /// How much memory must be lockable. Unit: bytes. Default: with an RDMA device, or a provider of the settings that locks, the pool's cap (1 GiB without settings); else nothing must be.
    /// </summary>
    public long? LockBytes { get; set; }

    /// <summary>An address of this machine that is listened at for a moment. Default: the settings' Provider:Node.</summary>
    public string? Node { get; set; }

    /// <summary>The port for <see cref="Node"/>. Default: any that is free, or the settings' Provider:Service.</summary>
    public string? Service { get; set; }

    /// <summary>Where /proc, /sys and /dev are. Default: <c>/</c>.</summary>
    public string Root { get; set; } = "/";

    /// <summary>The names of the checks to run, as the report has them. Default: all.</summary>
    public IReadOnlyCollection<string> Only { get; set; } = [];

    /// <summary>Report as JSON. Default: lines of text.</summary>
    public bool Json { get; set; }
}
