using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Testing;

/// <summary>A host of a <see cref="HostNetwork"/>, with a network, a name and shared memory of its own.</summary>
internal sealed class NetworkHost(HostNetwork network, int number, int holder)
{
    /// <summary>Its address on the first link.</summary>
    public string Address => AddressOf(number, 0);

    /// <summary>What starts a program there: the program is what the started process becomes.</summary>
    public string[] Inside => network.Inside(holder);

    /// <summary>The name of a host's card.</summary>
    public static string Card(int link) => string.Create(CultureInfo.InvariantCulture, $"eth{link}");

    /// <summary>The name of the switch's end of the cable.</summary>
    public static string Port(int number, int link) => string.Create(CultureInfo.InvariantCulture, $"host{number}-{link}");

    /// <summary>The addresses are of 198.18.0.0/15, which RFC 2544 reserves for tests.</summary>
    public static string AddressOf(int number, int link) => string.Create(CultureInfo.InvariantCulture, $"198.18.{link}.{number}");

    public string AddressOn(int link) => AddressOf(number, link);

    /// <summary>Runs a command that changes something there, such as <c>ip</c> or <c>tc</c>.</summary>
    public Task RunAsync(params string[] command) => network.RunAsync(holder, command);

    /// <summary>Starts a program there, and reads what it says of errors.</summary>
    public Process Start(params string[] command) => Process.Start(new ProcessStartInfo(Inside[0], [.. Inside[1..], .. command]) { RedirectStandardError = true })!;

    /// <summary>Whether another host answers at all: nothing listens at the port of discarding, so it refuses.</summary>
    public async Task<bool> ReachesAsync(string address, TimeSpan limit)
    {
        using Process connecting = Start("timeout", limit.TotalSeconds.ToString(CultureInfo.InvariantCulture), "bash", "-c", $"exec 3<>/dev/tcp/{address}/9");
        string errors = await connecting.StandardError.ReadToEndAsync();
        await connecting.WaitForExitAsync();
        return errors.Contains("Connection refused", StringComparison.Ordinal);
    }

    /// <summary>Nothing gets through any more, in either direction. Neither side notices: its card still has a carrier.</summary>
    public Task CutAsync(int link = 0) => network.RunAsync(network.Switch, "ip", "link", "set", Port(number, link), "nomaster");

    /// <summary>Everything gets through again.</summary>
    public Task RestoreAsync(int link = 0) => network.RunAsync(network.Switch, "ip", "link", "set", Port(number, link), "master", $"switch{link.ToString(CultureInfo.InvariantCulture)}");

    /// <summary>What it sends goes no faster than this, as <c>500mbit</c>; what doesn't fit into the queue is dropped.</summary>
    /// <param name="rate">As tc(8) has it.</param>
    /// <param name="queue">Bytes.</param>
    /// <param name="burst">How many bytes go at once after a time in which nothing was sent. A processor that comes back later than they last loses a part of the rate.</param>
    /// <param name="link">Which of its cards.</param>
    public Task LimitAsync(string rate, int queue = 256 << 10, int burst = 64 << 10, int link = 0) => RunAsync(
        "tc", "qdisc", "replace", "dev", Card(link), "root", "tbf", "rate", rate, "burst", burst.ToString(CultureInfo.InvariantCulture), "limit", queue.ToString(CultureInfo.InvariantCulture));

    /// <summary>Puts a relay between it and the switch, which drops and delays packets as its input says.</summary>
    /// <param name="seed">What decides which packets are dropped.</param>
    public async Task<PeerProcess> RelayAsync(int seed)
    {
        string card = string.Create(CultureInfo.InvariantCulture, $"relay{number}"), wire = string.Create(CultureInfo.InvariantCulture, $"wire{number}");
        await network.RunAsync(network.Switch, "sh", "-ec", $"ip link add {card} type veth peer name {wire}; ip link set {card} master switch0 up; ip link set {wire} up; ip link set {Port(number, 0)} nomaster");
        var relay = new PeerProcess(network.Inside(network.Switch), ["relay", Port(number, 0), wire, seed.ToString(CultureInfo.InvariantCulture)]);
        string said = await relay.AnswerAsync();
        return said == "ready" ? relay : throw new InvalidOperationException($"The relay said '{said}'.");
    }

    /// <summary>What it would send to another host is thrown away; its own programs get an error for it.</summary>
    public Task BlackholeAsync(NetworkHost other) => RunAsync("ip", "route", "add", "blackhole", other.Address);

    /// <summary>Ends what <see cref="BlackholeAsync"/> has begun.</summary>
    public Task EndBlackholeAsync(NetworkHost other) => RunAsync("ip", "route", "del", "blackhole", other.Address);

    /// <summary>Sets the range of the ports that the system assigns.</summary>
    public Task SetPortsAsync(int first, int last) => RunAsync("sh", "-c", string.Create(CultureInfo.InvariantCulture, $"echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range"));
}
