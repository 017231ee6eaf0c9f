using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace AllocTools.Testing;

/// <summary>Several hosts on this machine: network namespaces, joined by a switch that is a bridge in a namespace of its own.</summary>
/// <remarks>
/// Nothing of the machine's own network is used or changed, so that networks of several tests and runs may have the same names and
/// addresses side by side. A namespace lives as long as a process is in it. One process holds each of them, and ends with the
/// process of the tests, whose pipe it reads; so nothing is left of a run that was killed, but for a peer that was stopped by SIGSTOP
/// or does not read its input. Each process in a host has the number of its run in its environment: the next network finds those
/// whose run has ended, and ends them.
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

    /// <summary>The run of this process: its number, and when it started, since numbers come again.</summary>
    private static string OwnRun { get; } = RunOf(Environment.ProcessId)!;

    /// <summary>Makes hosts that reach each other.</summary>
    /// <param name="hosts">How many.</param>
    /// <param name="links">How many cards each of them has. The first ones are joined by one switch, the second ones by another.</param>
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
                // The kernel shows the cards of the namespace in a file system of this namespace; shared memory is a host's own as well.
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

    /// <summary>What puts the mark of this network before a command, in the namespaces that a process holds.</summary>
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

    /// <summary>The processes that are in this network: those that hold it, and those that were started in its hosts.</summary>
    public IEnumerable<int> Processes => MarkedProcesses().Where(p => p.Mark == _mark).Select(static p => p.Id);

    /// <summary>Ends whatever still runs in the hosts. With the last process the kernel removes the namespaces and the cards in them.</summary>
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

    /// <summary>Ends the processes of runs that have ended themselves.</summary>
    public static void EndLeftovers()
    {
        foreach ((int id, string mark) in MarkedProcesses())
        {
            string run = mark[(Mark.Length + 1)..mark.LastIndexOf(':')];
            if (RunOf(int.Parse(run[..run.IndexOf(':', StringComparison.Ordinal)], CultureInfo.InvariantCulture)) != run)
                Kill(id);
        }
    }

    /// <summary>Whoever is not root is it in a user namespace, which the switch makes and the hosts share.</summary>
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

    /// <summary>A process's number and start time, which is the 20th field after its name: proc_pid_stat(5). Null where it has ended.</summary>
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
            // It has ended, or is another user's.
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
            // It has ended by itself.
        }
    }
}
