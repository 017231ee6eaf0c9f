using System.Collections.Concurrent;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>
/// Records what happened to a <see cref="RecordingProvider"/>, in order, and controls how it behaves. A service of the
/// container.
/// </summary>
public sealed class Journal
{
    private readonly ConcurrentQueue<string> _events = new();

    public IReadOnlyList<string> Events => [.. _events];

    public bool RegistrationsBoundToEndpoint { get; init; }

    public Exception? OpenFails { get; init; }

    public Exception? RegisterFails { get; set; }

    public RmaException? Lost { get; set; }

    public Exception? EndpointCloseFails { get; init; }

    /// <summary>Called before anything is registered.</summary>
    public Action? Registers { get; init; }

    /// <summary>Called when the endpoint closes.</summary>
    public Action? EndpointCloses { get; set; }

    public void Add(string what) => _events.Enqueue(what);

    public int Count(string what) => _events.Count(e => e == what);
}
