using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace AllocTools.Testing;

/// <summary>Several hosts on this machine: network namespaces, joined by a switch that is a bridge in a namespace of its own.</summary>
/// <remarks>
/// The machine's own network is neither used nor changed, so networks of several tests and runs may use the same names
/// and addresses side by side. A namespace lives as long as a process is in it. One process holds each namespace, and
/// ends with the test process, whose pipe it reads. So nothing is left of a run that was killed, except for a peer that
/// was stopped by SIGSTOP or does not read its input. Each process in a host has the number of its run in its
/// environment: the next network finds processes whose run has ended, and kills them.
/// </remarks>
internal sealed class HostNetwork : IAsyncDisposable
{
    private const string Mark = "ALLOCTOOLS_TEST_HOSTS";
    private static int s_networks;
    private readonly List<Process> _holders = [];
    private readonly string _mark;

    private HostNetwork() => _mark = $"{Mark}={OwnRun}:{Interlocked.Increment(ref s_networks).ToString(CultureInfo.InvariantCulture)}";

    public NetworkHost[] Hosts { get; private set; } = [];

    public NetworkHost this[int number] => Hosts[number];

    /// <summary>The process that holds the namespace of the switch.</summary>
    public int Switch => _holders[0].Id;

    /// <summary>Gets the run of this process: its number, and when it started, since process numbers are reused.</summary>
    private static string OwnRun { get; } = RunOf(Environment.ProcessId)!;

    /// <summary>Creates hosts that can reach each other.</summary>
    /// <param name="hosts">The number of hosts.</param>
    /// <param name="links">The number of network cards per host. The first ones are joined by one switch, the second
    /// ones by another.</param>
    public static async Task<HostNetwork> StartAsync(int hosts = 3, int links = 1)
    {
        EndLeftovers();
        var network = new HostNetwork();
        try
        {
            IEnumerable<int> all = Enumerable.Range(0, links);
            await network.HoldAsync(string.Concat(all.Select(static l => $"ip link add switch{l} type bridge; ip link set switch{l} up; ")));
            network.Hosts = await Task.WhenAll(Enumerable.Range(1, hosts).Select(async number =>
            {
                // sysfs is mounted again to show the cards of this namespace. Each host also has its own shared memory.
                var script = new StringBuilder($"mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /dev/shm; hostname host{number}; ip link set lo up; ");
                foreach (int link in all)
                {
                    script.Append(CultureInfo.InvariantCulture, $"ip link add {NetworkHost.Card(link)} type veth peer name {NetworkHost.Port(number, link)} netns {network.Switch}; ")
                        .Append(CultureInfo.InvariantCulture, $"ip address add {NetworkHost.AddressOf(number, link)}/24 dev {NetworkHost.Card(link)}; ip link set {NetworkHost.Card(link)} up; ")
                        .Append(CultureInfo.InvariantCulture, $"nsenter --target={network.Switch} --net ip link set {NetworkHost.Port(number, link)} master switch{link} up; ")
                        .Append(CultureInfo.InvariantCulture, $"until ip link show dev {NetworkHost.Card(link)} | grep -q 'state UP'; do sleep 0.01; done; ");
                }
                return new NetworkHost(network, number, await network.HoldAsync(script.ToString()));
            }));
            return network;
        }
        catch
        {
            await network.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Returns the command prefix that runs a command in the namespaces that a process holds, with the mark of this
    /// network.
    /// </summary>
    public string[] Inside(int holder) => ["nsenter", Target(holder), .. User, "--net", "--mount", "--uts", "--ipc", "env", _mark];

    /// <summary>Runs a command that changes something, such as <c>ip</c> or <c>tc</c>, in the namespaces that a process holds.</summary>
    public async Task RunAsync(int holder, params string[] command)
    {
        string[] all = [.. Inside(holder), .. command];
        using var process = Process.Start(new ProcessStartInfo(all[0], all[1..]) { RedirectStandardError = true })!;
        string errors = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{string.Join(' ', command)} failed with {process.ExitCode}: {errors}");
    }

    /// <summary>Gets the processes in this network: those that hold it, and those that were started in its hosts.</summary>
    public IEnumerable<int> Processes => MarkedProcesses().Where(p => p.Mark == _mark).Select(static p => p.Id);

    /// <summary>
    /// Ends whatever still runs in the hosts. The kernel then removes the namespaces and the cards in them.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        foreach (int id in Processes)
            Kill(id);
        foreach (Process holder in _holders)
        {
            await holder.WaitForExitAsync();
            holder.Dispose();
        }
    }

    /// <summary>Ends the processes of runs that are over.</summary>
    public static void EndLeftovers()
    {
        foreach ((int id, string mark) in MarkedProcesses())
        {
            string run = mark[(Mark.Length + 1)..mark.LastIndexOf(':')];
            if (RunOf(int.Parse(run[..run.IndexOf(':', StringComparison.Ordinal)], CultureInfo.InvariantCulture)) != run)
                Kill(id);
        }
    }

    /// <summary>
    /// A user who isn't root becomes root in a user namespace, which the switch creates and the hosts share.
    /// </summary>
    private static string[] User => Environment.IsPrivilegedProcess ? [] : ["--user", "--preserve-credentials"];

    private static string Target(int process) => string.Create(CultureInfo.InvariantCulture, $"--target={process}");

    /// <summary>Starts a process that holds new namespaces after a script has set them up.</summary>
    private async Task<int> HoldAsync(string script)
    {
        string[] rights = Environment.IsPrivilegedProcess ? [] : _holders.Count == 0 ? ["unshare", "--user", "--map-root-user"] : ["nsenter", Target(Switch), .. User];
        string[] command = [_mark, .. rights, "unshare", "--net", "--mount", "--uts", "--ipc", "sh", "-ec", script + "echo ready; exec cat"];
        var holder = Process.Start(new ProcessStartInfo("env", command) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        lock (_holders)
            _holders.Add(holder);
        if (await holder.StandardOutput.ReadLineAsync().WaitAsync(TestTime.Seconds(60)) != "ready")
            throw new InvalidOperationException($"A host in a network namespace can't be made, which needs root's rights or user namespaces: {await holder.StandardError.ReadToEndAsync()}");
        return holder.Id;
    }

    private static IEnumerable<(int Id, string Mark)> MarkedProcesses()
    {
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out int id) && ReadProcess(id, "environ") is { } environment
                && environment.Split('\0').FirstOrDefault(static v => v.StartsWith(Mark + '=', StringComparison.Ordinal)) is { } mark)
                yield return (id, mark);
        }
    }

    /// <summary>
    /// Returns a process's number and start time, the 20th field after its name (proc_pid_stat(5)), or null if it has
    /// ended.
    /// </summary>
    private static string? RunOf(int process) => ReadProcess(process, "stat") is { } stat
        ? string.Create(CultureInfo.InvariantCulture, $"{process}:{stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19]}")
        : null;

    private static string? ReadProcess(int process, string file)
    {
        try
        {
            return File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/{file}"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The process has ended, or belongs to another user.
            return null;
        }
    }

    private static void Kill(int id)
    {
        try
        {
            using var process = Process.GetProcessById(id);
            process.Kill();
        }
        catch (ArgumentException)
        {
            // It has already ended.
        }
    }
}
