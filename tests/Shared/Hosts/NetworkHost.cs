using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Testing;

/// <summary>A host of a <see cref="HostNetwork"/>, with a network, a name and shared memory of its own.</summary>
internal sealed class NetworkHost(HostNetwork network, int number, int holder)
{
    /// <summary>Gets the host's address on the first link.</summary>
    public string Address => AddressOf(number, 0);

    /// <summary>
    /// Gets the command prefix that starts a program in the host. The started process becomes the program.
    /// </summary>
    public string[] Inside => network.Inside(holder);

    /// <summary>Returns the name of a host's card.</summary>
    public static string Card(int link) => string.Create(CultureInfo.InvariantCulture, $"eth{link}");

    /// <summary>Returns the name of the switch's end of the cable.</summary>
    public static string Port(int number, int link) => string.Create(CultureInfo.InvariantCulture, $"host{number}-{link}");

    /// <summary>Returns a host's address, in 198.18.0.0/15, which RFC 2544 reserves for tests.</summary>
    public static string AddressOf(int number, int link) => string.Create(CultureInfo.InvariantCulture, $"198.18.{link}.{number}");

    public string AddressOn(int link) => AddressOf(number, link);

    /// <summary>Runs a command in the host that changes something, such as <c>ip</c> or <c>tc</c>.</summary>
    public Task RunAsync(params string[] command) => network.RunAsync(holder, command);

    /// <summary>Starts a program in the host, with its standard error redirected.</summary>
    public Process Start(params string[] command) => Process.Start(new ProcessStartInfo(Inside[0], [.. Inside[1..], .. command]) { RedirectStandardError = true })!;

    /// <summary>
    /// Whether another host answers at all: nothing listens at the discard port, so it refuses the connection.
    /// </summary>
    public async Task<bool> ReachesAsync(string address, TimeSpan limit)
    {
        using Process connecting = Start("timeout", limit.TotalSeconds.ToString(CultureInfo.InvariantCulture), "bash", "-c", $"exec 3<>/dev/tcp/{address}/9");
        string errors = await connecting.StandardError.ReadToEndAsync();
        await connecting.WaitForExitAsync();
        return errors.Contains("Connection refused", StringComparison.Ordinal);
    }

    /// <summary>Cuts the link in both directions. Neither side notices: its card still has a carrier.</summary>
    public Task CutAsync(int link = 0) => network.RunAsync(network.Switch, "ip", "link", "set", Port(number, link), "nomaster");

    /// <summary>Restores a link that was cut.</summary>
    public Task RestoreAsync(int link = 0) => network.RunAsync(network.Switch, "ip", "link", "set", Port(number, link), "master", $"switch{link.ToString(CultureInfo.InvariantCulture)}");

    /// <summary>
    /// Limits the rate at which the host sends, for example to <c>500mbit</c>; what doesn't fit into the queue is
    /// dropped.
    /// </summary>
    /// <param name="rate">The rate, as tc(8) writes it.</param>
    /// <param name="queue">The length of the queue in bytes.</param>
    /// <param name="burst">The number of bytes sent at once after an idle time. If the processor comes back later than
    /// these last, a part of the rate is lost.</param>
    /// <param name="link">The link whose card is limited.</param>
    public Task LimitAsync(string rate, int queue = 256 << 10, int burst = 64 << 10, int link = 0) => RunAsync(
        "tc", "qdisc", "replace", "dev", Card(link), "root", "tbf", "rate", rate, "burst", burst.ToString(CultureInfo.InvariantCulture), "limit", queue.ToString(CultureInfo.InvariantCulture));

    /// <summary>Puts a relay between the host and the switch, which drops and delays packets as its input says.</summary>
    /// <param name="seed">The seed that decides which packets are dropped.</param>
    public async Task<PeerProcess> RelayAsync(int seed)
    {
        string card = string.Create(CultureInfo.InvariantCulture, $"relay{number}"), wire = string.Create(CultureInfo.InvariantCulture, $"wire{number}");
        await network.RunAsync(network.Switch, "sh", "-ec", $"ip link add {card} type veth peer name {wire}; ip link set {card} master switch0 up; ip link set {wire} up; ip link set {Port(number, 0)} nomaster");
        var relay = new PeerProcess(network.Inside(network.Switch), ["relay", Port(number, 0), wire, seed.ToString(CultureInfo.InvariantCulture)]);
        string said = await relay.AnswerAsync();
        return said == "ready" ? relay : throw new InvalidOperationException($"The relay said '{said}'.");
    }

    /// <summary>Discards what the host sends to another host; its own programs get an error for it.</summary>
    public Task BlackholeAsync(NetworkHost other) => RunAsync("ip", "route", "add", "blackhole", other.Address);

    /// <summary>Undoes <see cref="BlackholeAsync"/>.</summary>
    public Task EndBlackholeAsync(NetworkHost other) => RunAsync("ip", "route", "del", "blackhole", other.Address);

    /// <summary>Sets the range of the ports that the system assigns.</summary>
    public Task SetPortsAsync(int first, int last) => RunAsync("sh", "-c", string.Create(CultureInfo.InvariantCulture, $"echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range"));
}
