using AllocTools.Endpoints;
using AllocTools.Scale.Simulation;

namespace AllocTools.Scale.Scenes;

internal sealed class PeerInsertion(Machine machine) : INamedScene
{
    private const int Operations = 500;

    private readonly RmaPeer[] _peers = new RmaPeer[Operations];

    public static string Name => "insert a peer, remove it";

    public static string Among => "peers";

    public static IScene Open(Machine machine) => new PeerInsertion(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            _peers[i] = machine.Endpoint.InsertPeer(machine.AddressOf(machine.Size + i));
        foreach (RmaPeer peer in _peers)
            machine.Endpoint.RemovePeer(peer);
        return Operations;
    }

    public void Dispose()
    {
    }
}

internal sealed class PeerLookUp(Machine machine) : INamedScene
{
    private const int Operations = 2000;

    public static string Name => "insert a peer again, remove it once";

    public static string Among => "peers";

    public static IScene Open(Machine machine) => new PeerLookUp(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            machine.Endpoint.RemovePeer(machine.Endpoint.InsertPeer(machine.AddressOf(machine.Random.Next(machine.Size))));
        return Operations;
    }

    public void Dispose()
    {
    }
}

internal sealed class Importing(Machine machine) : INamedScene
{
    private const int Operations = 5000;

    public static string Name => "import a peer's memory, let go of it";

    public static string Among => "imported regions";

    public static IScene Open(Machine machine) => new Importing(machine);

    public int Run()
    {
        RemoteMemory memory = machine.Regions[0].Memory;
        for (int i = 0; i < Operations; i++)
            machine.Endpoint.Import(machine.Peers[machine.Random.Next(machine.Size)], memory).Dispose();
        return Operations;
    }

    public void Dispose()
    {
    }
}

/// <summary>Peers that are removed, each while an operation with it runs.</summary>
internal sealed class RemovalUnderOperations(Machine machine) : INamedScene
{
    private readonly RmaPeer[] _peers = new RmaPeer[Most];
    private readonly int[] _operations = new int[Most];

    private int Count => Math.Min(machine.Size, Most);

    public static string Name => "remove a peer with which an operation runs";

    public static string Among => "such peers";

    // Each removal looks at all slots, so a larger round would take very long.
    public static int Most => 10_000;

    public static IScene Open(Machine machine) => new RemovalUnderOperations(machine);

    public void Prepare()
    {
        machine.Driver.Conduct = Conduct.Stays;
        RemoteMemory memory = machine.Regions[0].Memory;
        for (int i = 0; i < Count; i++)
        {
            _peers[i] = machine.Endpoint.InsertPeer(machine.AddressOf(machine.Size + i));
            using RemoteRegion region = machine.Endpoint.Import(_peers[i], memory);
            if (!machine.Endpoint.TryPost(RmaOperation.Write(machine.Message[..8], region.Slice(0, 8))))
                throw new InvalidOperationException("A write was not taken.");
            _operations[i] = machine.Driver.LastIndex;
        }
    }

    public int Run()
    {
        for (int i = 0; i < Count; i++)
            machine.Endpoint.RemovePeer(_peers[i]);
        for (int i = 0; i < Count; i++)
            machine.Driver.End(_operations[i], 8);
        if (machine.Poll() != Count)
            throw new InvalidOperationException("An operation with a peer that was removed did not end.");
        return Count;
    }

    public void Dispose() => machine.Driver.Conduct = Conduct.Ends;
}

/// <summary>Peers that are lost, each in a progress turn of its own and while an operation with it runs.</summary>
internal sealed class Losses(Machine machine) : INamedScene
{
    private const int Lost = 10;

    private readonly int[] _operations = new int[Math.Min(machine.Size, machine.Slots)];
    private bool _areRunning;

    public static string Name => "lose a peer with which an operation runs";

    public static string Among => "such peers";

    public static int Most => 65_536;

    public static IScene Open(Machine machine) => new Losses(machine);

    public void Prepare()
    {
        machine.Driver.Conduct = Conduct.Stays;
        for (int i = 0; i < (_areRunning ? Lost : _operations.Length); i++)
        {
            if (_areRunning)
                machine.InsertAgain(i);
            _operations[i] = machine.Write(i);
        }
        _areRunning = true;
    }

    public int Run()
    {
        int ended = 0;
        for (int i = 0; i < Lost; i++)
        {
            machine.Driver.Lose(machine.Peers[i].Entry!);
            ended += machine.Poll();
        }
        return ended == Lost ? Lost : throw new InvalidOperationException($"{ended} operations with {Lost} lost peers have ended.");
    }

    public void Dispose()
    {
        Prepare();
        foreach (int operation in _operations)
            machine.Driver.End(operation, 8);
        machine.Poll();
        machine.Driver.Conduct = Conduct.Ends;
    }
}
