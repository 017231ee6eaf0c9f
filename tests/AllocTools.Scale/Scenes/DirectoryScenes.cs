using System.Net;
using AllocTools.Connections.Directories;
using Microsoft.Extensions.Options;

namespace AllocTools.Scale.Scenes;

/// <summary>A peer of the directory that keeps N entries.</summary>
internal abstract class DirectoryScene : IScene
{
    protected const int Operations = 200;
    protected static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    private readonly (DirectoryRecord Record, byte[] Encoded)[] _records;
    private long _revision = 1;

    protected DirectoryScene(Machine machine, int count, Func<int, string> nameOf)
    {
        Machine = machine;
        Table = new DirectoryTable(
            Options.Create(new RmaDirectoryOptions { Lease = Lease, MaxEntries = 1_000_000, MaxEntriesPerName = 10_000, MaxBytes = 1 << 30 }), machine.Clock);
        _records = new (DirectoryRecord, byte[])[count];
        for (int i = 0; i < count; i++)
            Publish(i, nameOf(i), Guid.NewGuid());
    }

    protected Machine Machine { get; }

    protected DirectoryTable Table { get; }

    protected int Count => _records.Length;

    public abstract int Run();

    public abstract void Dispose();

    protected void Renew(int index) => Put(_records[index]);

    /// <summary>Publishes an entry again, with another revision.</summary>
    protected void Change(int index) => Publish(index, _records[index].Record.Entry.Name, _records[index].Record.Entry.Process);

    private void Publish(int index, string name, Guid process)
    {
        var record = new DirectoryRecord(new RmaDirectoryEntry(name, process, new IPEndPoint(IPAddress.Loopback, 1)), _revision++);
        _records[index] = (record, record.Encode());
        Put(_records[index]);
    }

    private void Put((DirectoryRecord Record, byte[] Encoded) entry)
    {
        if (Table.Put(entry.Record, entry.Encoded, Lease) is { } refusal)
            throw new InvalidOperationException(refusal.Reason);
    }
}

internal sealed class RenewalOfName : DirectoryScene, INamedScene
{
    private const string Service = "service";

    private RenewalOfName(Machine machine, int count)
        : base(machine, count, static _ => Service)
    {
    }

    static string INamedScene.Name => "renew a directory's entry";

    static string INamedScene.Among => "entries of its name";

    static int INamedScene.Most => 10_000;

    static IScene INamedScene.Open(Machine machine) => Of(machine, Math.Min(machine.Size, 10_000));

    public static RenewalOfName Of(Machine machine, int entries) => new(machine, entries);

    /// <summary>Gets how often the table has checked whether an entry has expired.</summary>
    public long Looks => Table.Looks;

    public IReadOnlyCollection<byte[]> Read() => [.. Table.Read(Service).Entries.Select(static e => e.Encoded)];

    public override int Run()
    {
        for (int i = 0; i < Operations; i++)
            Renew(Machine.Random.Next(Count));
        return Operations;
    }

    public override void Dispose()
    {
    }
}

internal sealed class ChangeAmongWatched : DirectoryScene, INamedScene
{
    private readonly CancellationTokenSource _end = new();
    private readonly Task[] _watches;

    private ChangeAmongWatched(Machine machine)
        : base(machine, machine.Size, static i => $"service-{i}")
    {
        // The first entry changes; the others are watched.
        _watches = [.. Enumerable.Range(1, machine.Size - 1).Select(i => Table.WaitAsync($"service-{i}", Table.Read($"service-{i}").Tag, Lease, _end.Token))];
    }

    static string INamedScene.Name => "change a directory's entry, read it";

    static string INamedScene.Among => "names that are watched";

    static IScene INamedScene.Open(Machine machine) => new ChangeAmongWatched(machine);

    public override int Run()
    {
        for (int i = 0; i < Operations; i++)
        {
            Change(0);
            if (Table.Read("service-0").Entries.Count != 1)
                throw new InvalidOperationException("The entry is not there.");
        }
        return Operations;
    }

    public override void Dispose()
    {
        if (Array.Exists(_watches, static w => w.IsCompleted))
            throw new InvalidOperationException("A watch ended although nothing changed.");
        _end.Cancel();
        Task.WhenAll(_watches).ContinueWith(static _ => { }, TaskScheduler.Default).Wait();
        _end.Dispose();
    }
}
