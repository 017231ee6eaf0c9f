using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using AllocTools.Blocks;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Doctor;

/// <summary>Runs the checks. Those that load libraries run in separate processes.</summary>
/// <remarks>
/// Such a process is this program with the same arguments and the check's name in <see cref="Variable"/>: it runs only
/// that check and writes its findings as one line. A process that crashes or hangs is a finding, too.
/// </remarks>
internal sealed class Examination : IDisposable
{
    /// <summary>The environment variable with the name of the only check that this process is to run.</summary>
    public const string Variable = "ALLOCTOOLS_DOCTOR_CHECK";

    private const string AnswerMark = "alloctools-findings:";
    private const long UsualCap = 1L << 30, UsualHugePage = 2 << 20;

    private static readonly TimeSpan LongestCheck = TimeSpan.FromSeconds(60), LongestRest = TimeSpan.FromSeconds(10);

    private readonly DoctorOptions _options;
    private readonly Lazy<Finding?> _listening;

    public Examination(DoctorOptions options, Machine? machine = null)
    {
        _options = options;
        _listening = new Lazy<Finding?>(() => Node is { Length: > 0 } node ? Checks.PortsCheck.Listen(node, Service) : null);
        Machine = machine ?? new Machine(options.Root);
        Surroundings = Surroundings.Of(Machine);
        bool isExempt = machine is null ? MemoryLockLimit.IsExempt : Surroundings is { HasLockCapability: true, IsInUserNamespace: false };
        LockLimit = isExempt ? null : Machine.MemoryLockLimit.Soft;
        Limits = new SystemLimits
        {
            MemoryLock = LockLimit,
            MachineMemory = Machine.MemoryInfo("MemTotal"),
            Cgroup = CgroupMemory.Read(Machine.PathOf("/proc/self/cgroup"), Machine.PathOf("/sys/fs/cgroup")),
            HugePageSize = Machine.MemoryInfo("Hugepagesize") is { } size and > 0 ? size : UsualHugePage,
            HugePageBytes = (Machine.MemoryInfo("HugePages_Total") ?? 0) * (Machine.MemoryInfo("Hugepagesize") ?? 0),
            HasNumaNode = node => Machine.Exists(string.Create(CultureInfo.InvariantCulture, $"/sys/devices/system/node/node{node}")),
        };
        if (options.Section is { } section)
            Settings = ExaminedPool.Read(section, options.Place ?? $"section '{section.Path}'", options.Provider);
    }

    public Machine Machine { get; }

    public Surroundings Surroundings { get; }

    /// <summary>RLIMIT_MEMLOCK in bytes, if it applies to this process; otherwise null.</summary>
    public long? LockLimit { get; }

    public SystemLimits Limits { get; }

    /// <summary>The pool's settings; null if none were given.</summary>
    public ExaminedPool? Settings { get; }

    /// <summary>Why the settings can't be read; null if they can, or if none were given.</summary>
    public string? SettingsFault => _options.SettingsFault;

    /// <summary>Why there are no settings to examine, for a check that needs them.</summary>
    public string WithoutSettings => SettingsFault is not null ? "The settings can't be read" : "No settings were given (--settings FILE)";

    /// <summary>How much memory must be lockable according to the caller; null if the caller did not specify it.</summary>
    public long? BytesToLock => _options.LockBytes;

    /// <summary>The maximum that the pool may register; without settings, the usual cap.</summary>
    public long DefaultCap => Settings?.Pool?.MaxRegisteredBytes ?? UsualCap;

    /// <summary>Whether registered memory will be locked: by a device, by a HostProvider that must lock it, or because the caller says so.</summary>
    public bool AsksToLock => _options.LockBytes is not null || Settings?.LocksByItself == true || (HasDevice && (Settings is null || Settings.MayUseDevices));

    /// <summary>Whether this machine has an RDMA device.</summary>
    public bool HasDevice => Machine.List("/sys/class/infiniband").Length > 0 || Machine.CxiDevices.Length > 0;

    /// <summary>Whether the settings name one of these providers of libfabric.</summary>
    public bool NamesFabric(params ReadOnlySpan<string> providers) => Settings?.Fabric is { } fabric && providers.Contains(fabric);

    /// <summary>The address at which to listen for a moment.</summary>
    public string? Node => _options.Node ?? Settings?.Node;

    /// <summary>Whether the address and the port are those of the settings.</summary>
    public bool ListensBySettings => _options.Node is null;

    /// <summary>
    /// The result of listening at <see cref="Node"/> for a moment; null if no address is given. It is tried only once,
    /// because a second attempt could conflict with the first.
    /// </summary>
    public Finding? Listening => _listening.Value;

    /// <summary>The port for that address.</summary>
    public string? Service => _options.Node is null ? _options.Service ?? Settings?.Service : _options.Service;

    /// <summary>Runs a check that loads libraries.</summary>
    internal Func<Check, IReadOnlyList<Finding>> RunApart { get; init; } = InChild;

    /// <summary>Runs the requested checks.</summary>
    public DoctorReport Run()
    {
        Check[] checks = [.. Check.All.Where(c => _options.Only.Count == 0 || c.Names.Any(_options.Only.Contains))];
        var apart = checks.Where(c => c.RunsApart && (c is not Checks.ProviderCheck || Settings?.Pool is not null)).ToDictionary(static c => c, c => Task.Run(() => RunApart(c)));
        // The findings are in the order of the list, whichever check ends first.
        return new DoctorReport([.. checks.SelectMany(c => AskedFor(c, apart.TryGetValue(c, out Task<IReadOnlyList<Finding>>? findings) ? c.Complete(findings.GetAwaiter().GetResult(), this) : [.. c.Run(this)]))], WhereItRan);
    }

    /// <summary>
    /// Selects the findings of a check that was requested only by another of its names: those of that name, or all if
    /// it has none, because they explain why.
    /// </summary>
    private IReadOnlyList<Finding> AskedFor(Check check, IReadOnlyList<Finding> findings)
    {
        if (_options.Only.Count == 0 || _options.Only.Contains(check.Name))
            return findings;
        Finding[] named = [.. findings.Where(f => _options.Only.Contains(f.Check))];
        return named.Length > 0 ? named : findings;
    }

    /// <summary>Runs the check that the environment names, and writes its findings for <see cref="InChild"/>.</summary>
    public void Answer(string name)
    {
        Finding[] findings = [.. Check.All.Single(c => c.Name == name).Run(this)];
        Console.Out.WriteLine(AnswerMark + JsonSerializer.Serialize(findings, DoctorJson.Lines.FindingArray));
    }

    public void Dispose() => Settings?.Dispose();

    /// <summary>The place where the examination ran, in words.</summary>
    private string WhereItRan => Surroundings + (_options.Root == "/" ? "" : $", with /proc, /sys and /dev of {_options.Root}");

    /// <summary>Capitalizes the first letter of a sentence.</summary>
    internal static string Sentence(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..];

    private static IReadOnlyList<Finding> InChild(Check check)
    {
        ProcessStartInfo start = DoctorCommand.StartThisProgram();
        start.RedirectStandardError = true;
        start.Environment[Variable] = check.Name;
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        string last = "nothing on standard error";
        // The output is read line by line: text that a library writes at its end is not part of the answer, and
        // neither is that of a process that it leaves behind with the pipes open.
        TaskCompletionSource<string> answer = new();
        TaskCompletionSource outputEnded = new(), errorEnded = new();
        process.OutputDataReceived += (_, e) =>
        {
            if (e.Data is null)
                outputEnded.TrySetResult();
            else if (e.Data.StartsWith(AnswerMark, StringComparison.Ordinal))
                answer.TrySetResult(e.Data[AnswerMark.Length..]);
        };
        process.ErrorDataReceived += (_, e) =>
        {
            if (e.Data is null)
                errorEnded.TrySetResult();
            else if (!string.IsNullOrWhiteSpace(e.Data))
                last = e.Data.Trim();
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        if (!process.WaitForExit(LongestCheck))
        {
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
            return [new Finding(check.Name, FindingStatus.Problem, $"The check has not ended within {LongestCheck.TotalSeconds} s: the library hangs while it is loaded or asked")
            {
                Advice = "Look where it hangs with FI_LOG_LEVEL=info or UCX_LOG_LEVEL=info in the environment, and leave out the provider or the device that does",
            }];
        }
        // The pipes end only with the last process that has them, so the wait for their remaining contents is bounded.
        Task ended = Task.WhenAll(outputEnded.Task, errorEnded.Task);
        _ = Task.WaitAny([process.ExitCode == 0 ? answer.Task : ended, ended], LongestRest);
        if (process.ExitCode == 0 && answer.Task.IsCompleted)
            return JsonSerializer.Deserialize(answer.Task.Result, DoctorJson.Lines.FindingArray) ?? [];
        string cause = process.ExitCode > 128 ? $"signal {process.ExitCode - 128}" : $"exit code {process.ExitCode}";
        return [new Finding(check.Name, FindingStatus.Problem, $"The library has ended the process that loaded it ({cause}): {last}")
        {
            Advice = "Install another version of it, or leave out the provider that does so (FI_PROVIDER=^NAME, UCX_TLS=^NAME in the environment)",
        }];
    }
}
