using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks the ports that the system assigns, and binds one that the settings or the caller ask for.</summary>
internal sealed class PortsCheck() : Check("ports")
{
    private const int Few = 1024;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        string[] range = (examination.Machine.Read("/proc/sys/net/ipv4/ip_local_port_range") ?? "").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (range.Length == 2 && int.TryParse(range[0], CultureInfo.InvariantCulture, out int first) && int.TryParse(range[1], CultureInfo.InvariantCulture, out int last))
        {
            int count = last - first + 1;
            var facts = new JsonObject { ["first"] = first, ["last"] = last };
            yield return count < Few
                ? Warn($"The system has {count} ports for connections ({first} to {last})", "Widen the range: `sysctl net.ipv4.ip_local_port_range='32768 60999'` as root", facts)
                : Ok($"The system has {InWords.Number(count)} ports for connections ({first} to {last})", facts);
        }
        else
        {
            yield return Absent("net.ipv4.ip_local_port_range is not there");
        }
        if (examination.Listening is { } listening)
            yield return listening;
    }

    /// <summary>Listens at an address for a moment.</summary>
    public static Finding Listen(string node, string? service) => new PortsCheck().Bind(node, service);

    private Finding Bind(string node, string? service)
    {
        var facts = new JsonObject { ["node"] = node, ["service"] = service };
        if (!int.TryParse(service ?? "0", NumberStyles.None, CultureInfo.InvariantCulture, out int port) || port > IPEndPoint.MaxPort)
        {
            return service!.All(char.IsAsciiDigit)
                ? Fail($"Service is '{service}'; a port must be a number between 0 and {IPEndPoint.MaxPort}", "Choose a port in that range, or leave it out: the system then gives a free port", facts)
                : Absent($"Service is '{service}', a name that only the transport resolves", facts);
        }
        try
        {
            IPAddress address = IPAddress.TryParse(node, out IPAddress? parsed) ? parsed : Dns.GetHostAddresses(node)[0];
            using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, port));
            socket.Listen();
            return Ok($"{socket.LocalEndPoint} can be used to listen", facts);
        }
        catch (ArgumentException e)
        {
            return Fail($"Node is a name that can't be resolved: {e.Message}", "Set Node to an address of this machine, or to a host name that resolves to one", facts);
        }
        catch (SocketException e)
        {
            string advice = e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => "Stop the process that has it, which may be this service itself (`ss -ltnp` lists them); or choose another Service, or leave it out: the system then gives a free port",
                SocketError.AddressNotAvailable => "Set Node to an address of this machine (`ip -brief address` lists them)",
                SocketError.AccessDenied => "Choose a port from 1024 on, or lower net.ipv4.ip_unprivileged_port_start as root",
                _ => "Set Node to an address of this machine, or to a host name that resolves to one",
            };
            return Fail($"{node}:{service ?? "0"} can't be used to listen: {e.Message}", advice, facts);
        }
    }
}
