using System.Collections.Frozen;
using System.Net;
using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Connections.Directories;

/// <summary>An entry that a process publishes under a name: the end point to connect to, and exposed memory. It is an immutable value.</summary>
/// <remarks>
/// It contains the keys of its exposures: any reader can use that memory, so keep it out of logs.
/// <see cref="ToString"/> returns none of them.
/// </remarks>
public sealed class RmaDirectoryEntry
{
    /// <summary>The longest name of an entry, or of an exposure, in characters.</summary>
    public const int MaxNameLength = 128;

    /// <summary>How many exposures an entry may have.</summary>
    public const int MaxExposures = 64;

    /// <summary>Creates an entry.</summary>
    /// <param name="name">The name under which peers find it: 1 to 128 ASCII letters and digits, '-', '_' and '.', but
    /// not only dots. Several processes may publish under one name.</param>
    /// <param name="process">The process's random number: <see cref="RmaConnections.Process"/> of the listening connections.</param>
    /// <param name="endPoint">The end point to which peers connect: an <see cref="IPEndPoint"/> or a
    /// <see cref="DnsEndPoint"/>; not the wildcard address that a listener may have.</param>
    /// <param name="exposures">Up to 64 memories, with names of the same form; may be null.</param>
    /// <exception cref="ArgumentException">An argument is not valid; the message names it, and says what it must be.</exception>
    public RmaDirectoryEntry(string name, Guid process, EndPoint endPoint, IReadOnlyDictionary<string, RemoteMemory>? exposures = null)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(endPoint);
        if (FindError(name, process, endPoint, exposures) is (string parameter, string error))
            throw new ArgumentException(error, parameter);
        Name = name;
        Process = process;
        EndPoint = endPoint is IPEndPoint ip ? new IPEndPoint(ip.Address, ip.Port) : endPoint;
        Exposures = exposures?.ToFrozenDictionary() ?? FrozenDictionary<string, RemoteMemory>.Empty;
    }

    /// <summary>The name under which peers find it.</summary>
    public string Name { get; }

    /// <summary>The random number of the process that has published it.</summary>
    public Guid Process { get; }

    /// <summary>The end point to connect to: an <see cref="IPEndPoint"/> or a <see cref="DnsEndPoint"/>.</summary>
    public EndPoint EndPoint { get; }

    /// <summary>Memory that the process has exposed. It is valid only as long as this process lives (<see cref="RmaDirectoryExtensions.Import"/> checks that).</summary>
    public IReadOnlyDictionary<string, RemoteMemory> Exposures { get; }

    internal string Host => EndPoint is IPEndPoint ip ? ip.Address.ToString() : ((DnsEndPoint)EndPoint).Host;

    internal int Port => EndPoint is IPEndPoint ip ? ip.Port : ((DnsEndPoint)EndPoint).Port;

    /// <summary>Returns the name and the number of exposures, but never a key or an address.</summary>
    public override string ToString() => $"{Name}, {InWords.Count(Exposures.Count, "exposure", "exposures")}";

    /// <summary>Returns the error in a name; null if it is valid.</summary>
    internal static string? FindErrorOfName(string name, string what)
    {
        if (name.Length is 0 or > MaxNameLength)
            return $"The name of {what} must have between 1 and {MaxNameLength} characters; this one has {name.Length}.";
        // Such names would be interpreted as steps of a path.
        if (!name.AsSpan().ContainsAnyExcept('.'))
            return $"The name of {what} must have a character other than a dot; this one is '{name}'.";
        int wrong = name.AsSpan().IndexOfAnyExcept(NameCharacters);
        return wrong < 0 ? null : $"The name of {what} must consist of ASCII letters and digits, '-', '_' and '.'; the character at {wrong} is U+{(int)name[wrong]:X4}.";
    }

    /// <summary>Returns the error and its parameter; null if there is none.</summary>
    internal static (string Parameter, string Error)? FindError(string name, Guid process, EndPoint endPoint, IReadOnlyDictionary<string, RemoteMemory>? exposures)
    {
        if (FindErrorOfName(name, "an entry") is { } error)
            return (nameof(name), error);
        if (process == Guid.Empty)
            return (nameof(process), "The process's number must not be zero; use RmaConnections.Process.");
        if (FindErrorOf(endPoint) is { } endPointError)
            return (nameof(endPoint), endPointError);
        if (exposures is null)
            return null;
        if (exposures.Count > MaxExposures)
            return (nameof(exposures), $"An entry must have at most {MaxExposures} exposures; this one has {exposures.Count}.");
        return exposures.Keys.Select(static key => FindErrorOfName(key, "an exposure")).FirstOrDefault(static e => e is not null) is { } first ? (nameof(exposures), first) : null;
    }

    private static readonly System.Buffers.SearchValues<char> NameCharacters =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");

    private static string? FindErrorOf(EndPoint endPoint) => endPoint switch
    {
        IPEndPoint { Port: 0 } or DnsEndPoint { Port: 0 } => "The port must not be 0; publish the port of the listener.",
        IPEndPoint { Address: var address } when address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any) =>
            $"{address} is an address to listen on, which peers can't connect to; publish this host's name or address.",
        IPEndPoint => null,
        DnsEndPoint { Host: var host } when host.Length > 255 || Uri.CheckHostName(host) != UriHostNameType.Dns =>
            "The host must be a DNS name of up to 255 characters; pass an IP address as an IPEndPoint.",
        DnsEndPoint => null,
        _ => $"The end point must be an IPEndPoint or a DnsEndPoint; it is a {endPoint.GetType().Name}.",
    };
}
