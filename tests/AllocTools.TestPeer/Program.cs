using AllocTools.TestPeer;

// The other process of the tests. The first argument says what it is; it ends with its standard input.
return args switch
{
    ["fabric", string fabric, string access, .. string[] rest] => new FabricPeer(fabric, Enum.Parse<AllocTools.RmaAccess>(access), rest).Run(),
    ["pinning", string fabric] => new PinningPeer(fabric).Run(),
    ["memlock", string locking] => MemoryLockProbe.Run(Enum.Parse<AllocTools.HostMemory.PageLocking>(locking)),
    _ => 2,
};
