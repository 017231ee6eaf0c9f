using Microsoft.Extensions.Configuration;

namespace AllocTools.Doctor;

/// <summary>Options of <see cref="DoctorCommand.Run"/>: what to examine besides the machine, and how to report.</summary>
public sealed class DoctorOptions
{
    /// <summary>A pool's section, as it is passed to <c>AddRmaMemoryPool</c>. Default: null, which means that only the machine is examined.</summary>
    public IConfigurationSection? Section { get; set; }

    /// <summary>The location of that section, for people. Default: its path.</summary>
    public string? Place { get; set; }

    /// <summary>Why the file of the settings can't be read, which is reported as a problem. <see cref="Section"/> is null then.</summary>
    internal string? SettingsFault { get; set; }

    /// <summary>
    /// The class that <c>AddRmaMemoryPool</c> names, which no section contains. Default:
    /// <see cref="ProviderKind.Libfabric"/>.
    /// </summary>
    public ProviderKind Provider { get; set; }

    /// <summary>
    /// The amount of memory that must be lockable, in bytes. Default: the pool's cap (1 GiB without settings) if there
    /// is an RDMA device, or if the provider of the settings locks memory; otherwise none.
    /// </summary>
    public long? LockBytes { get; set; }

    /// <summary>An address of this machine at which the examination listens for a moment. Default: the settings' Provider:Node.</summary>
    public string? Node { get; set; }

    /// <summary>The port for <see cref="Node"/>. Default: the settings' Provider:Service, or any free port.</summary>
    public string? Service { get; set; }

    /// <summary>The root of /proc, /sys and /dev. Default: <c>/</c>.</summary>
    public string Root { get; set; } = "/";

    /// <summary>The names of the checks to run, as they appear in the report. Default: empty, which means all.</summary>
    public IReadOnlyCollection<string> Only { get; set; } = [];

    /// <summary>Whether to report as JSON. Default: false, which means lines of text.</summary>
    public bool Json { get; set; }
}
