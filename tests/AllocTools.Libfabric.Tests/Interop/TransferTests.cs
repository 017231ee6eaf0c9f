using System.Diagnostics;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>
/// Makes each call of an endpoint and a queue once, on loopback TCP, to test that the tables are called with the right
/// arguments.
/// </summary>
public sealed unsafe class TransferTests
{
    private const nuint PageSize = 4096;

    [Fact]
    public void An_endpoint_talks_to_itself()
    {
        LibfabricLibrary library = Installed.Library;
        fi_info* info = Installed.TcpInfo();
        Assert.Equal(0, library.OpenFabric(info->fabric_attr, out FabricHandle? fabric));
        Assert.Equal(0, fabric!.OpenDomain(info, out DomainHandle? domain));
        fi_av_attr avAttr = new() { type = fi_av_type.FI_AV_TABLE };
        Assert.Equal(0, domain!.OpenAv(&avAttr, out AvHandle? vector));
        fi_cq_attr cqAttr = new() { format = fi_cq_format.FI_CQ_FORMAT_TAGGED, wait_obj = fi_wait_obj.FI_WAIT_FD };
        Assert.Equal(0, domain.OpenCq(&cqAttr, out CqHandle? queue));
        Assert.Equal(0, domain.OpenEndpoint(info, out EndpointHandle? endpoint));
        library.FreeInfo(info);
        Assert.Equal(0, endpoint!.Bind(vector!, 0));
        Assert.Equal(0, endpoint.Bind(queue!, FiCaps.FI_SEND | FiCaps.FI_RECV));
        Assert.Equal(0, endpoint.Enable());

        Assert.Equal(-FiErrno.FI_ETOOSMALL, endpoint.GetName([], out nuint needed));
        byte[] address = new byte[needed];
        Assert.Equal(0, endpoint.GetName(address, out nuint length));
        Assert.Equal(needed, length);
        Assert.Equal(-FiErrno.FI_EINVAL, vector!.Insert([], out _));
        Assert.Equal(1, vector.Insert(address, out ulong self));

        byte* local = stackalloc byte[(int)PageSize];
        byte* remote = stackalloc byte[(int)PageSize];
        MrHandle mine = Register(domain, local, FiCaps.FI_READ | FiCaps.FI_WRITE | FiCaps.FI_SEND | FiCaps.FI_RECV, key: 1);
        MrHandle theirs = Register(domain, remote, FiCaps.FI_REMOTE_READ | FiCaps.FI_REMOTE_WRITE, key: 2);
        void* descriptor = mine.Descriptor;
        ulong key = theirs.Key;
        fi_context2* sent = stackalloc fi_context2[2];
        fi_context2* received = sent + 1;
        fi_msg_rma* message = stackalloc fi_msg_rma[1];
        void** descriptors = stackalloc void*[] { descriptor };
        fi_cq_tagged_entry entry;

        // send and receive
        iovec range = new() { iov_base = local + 64, iov_len = 8 };
        fi_msg text = new() { msg_iov = &range, desc = descriptors, iov_count = 1, addr = FiConstants.FI_ADDR_UNSPEC, context = received };
        fi_msg* texts = &text;
        Post(() => endpoint.RecvMsg(texts, FiFlags.FI_COMPLETION), queue!);
        *(ulong*)local = 0x0102030405060708;
        range.iov_base = local;
        text.addr = self;
        text.context = sent;
        Post(() => endpoint.SendMsg(texts, FiFlags.FI_COMPLETION), queue!);
        Both(queue!, sent, received);
        Assert.Equal(*(ulong*)local, *(ulong*)(local + 64));

        // an injected message has no completion of its own, and the queue reports who sent it
        Post(() => endpoint.Receive(local + 72, 8, descriptor, FiConstants.FI_ADDR_UNSPEC, received), queue!);
        Post(() => endpoint.Inject(local, 8, self), queue!);
        ulong source = FiConstants.FI_ADDR_UNSPEC;
        Assert.Equal(1, PollFrom(queue!, &entry, &source));
        Assert.True(entry.op_context == received);
        Assert.Equal(self, source);
        Assert.Equal(*(ulong*)local, *(ulong*)(local + 72));

        // a write with data for the target's queue, and a read; this provider addresses by offset
        Post(() => endpoint.WriteData(local, 8, descriptor, 0xFEEDUL, self, 128, key, sent), queue!);
        fi_cq_tagged_entry arrived = Both(queue!, sent, null);
        Assert.Equal(FiFlags.FI_REMOTE_CQ_DATA | FiCaps.FI_REMOTE_WRITE, arrived.flags & (FiFlags.FI_REMOTE_CQ_DATA | FiCaps.FI_REMOTE_WRITE));
        Assert.Equal(0xFEEDUL, arrived.data);
        Post(() => endpoint.Read(local + 256, 8, descriptor, self, 128, key, sent), queue!);
        Next(queue!, &entry);
        Assert.Equal(*(ulong*)local, *(ulong*)(remote + 128));
        Assert.Equal(*(ulong*)local, *(ulong*)(local + 256));

        // the same by structures, with delivery guaranteed
        fi_rma_iov target = new() { addr = 512, len = 8, key = key };
        *message = new fi_msg_rma
        {
            msg_iov = &range, desc = descriptors, iov_count = 1, addr = self, rma_iov = &target, rma_iov_count = 1, context = sent,
        };
        Post(() => endpoint.WriteMsg(message, FiFlags.FI_COMPLETION | FiFlags.FI_DELIVERY_COMPLETE), queue!);
        Next(queue!, &entry);
        Assert.Equal(*(ulong*)local, *(ulong*)(remote + 512));
        range.iov_base = local + 512;
        Post(() => endpoint.ReadMsg(message, FiFlags.FI_COMPLETION), queue!);
        Next(queue!, &entry);
        Assert.Equal(*(ulong*)local, *(ulong*)(local + 512));

        // a cancelled receive is returned as an error
        Post(() => endpoint.Receive(local + 64, 8, descriptor, FiConstants.FI_ADDR_UNSPEC, received), queue!);
        Assert.Equal(0, endpoint.Cancel(received));
        nint read = Poll(queue!, &entry);
        Assert.Equal(-FiErrno.FI_EAVAIL, read);
        fi_cq_err_entry error = default;
        Assert.Equal(1, queue!.ReadErr(&error, 0));
        Assert.True(error.op_context == received);
        Assert.Equal("FI_ECANCELED", FiErrno.NameOf(error.err));
        Assert.NotEmpty(queue.StrError(error.prov_errno, error.err_data));

        Assert.Equal(-FiErrno.FI_EAGAIN, queue.Read(&entry, 1));
        Assert.Equal(0, queue.GetWaitFd(out int fileDescriptor));
        Assert.True(fileDescriptor >= 0);
        Assert.Contains(fabric.TryWait(queue), new[] { 0, -FiErrno.FI_EAGAIN });
        Assert.Equal(0, vector.Remove(self));

        // in an order that is wrong on purpose
        fabric.Dispose();
        domain.Dispose();
        vector.Dispose();
        queue.Dispose();
        endpoint.Dispose();
        mine.Dispose();
        theirs.Dispose();
        Assert.All(new FidHandle[] { fabric, domain, vector, queue, endpoint, mine, theirs }, handle =>
        {
            Assert.True(handle.IsReleased);
            Assert.Equal(0, handle.CloseStatus);
        });
    }

    private static void Post(Func<nint> post, CqHandle queue)
    {
        Stopwatch watch = Stopwatch.StartNew();
        nint status;
        while ((status = post()) == -FiErrno.FI_EAGAIN && watch.Elapsed < TimeSpan.FromSeconds(10))
            Assert.True(queue.Read(null, 0) is var none && (none == -FiErrno.FI_EAGAIN || none == 0));
        Assert.Equal(0, status);
    }

    private static MrHandle Register(DomainHandle domain, void* memory, ulong access, ulong key)
    {
        iovec range = new() { iov_base = memory, iov_len = PageSize };
        fi_mr_attr attr = new() { mr_iov = &range, iov_count = 1, access = access, requested_key = key };
        Assert.Equal(0, domain.RegisterMemory(&attr, 0, out MrHandle? registration));
        return registration!;
    }

    /// <summary>Reads two completions, in either order: the initiator's and the target's.</summary>
    /// <returns>The target's completion.</returns>
    private static fi_cq_tagged_entry Both(CqHandle queue, void* initiator, void* target)
    {
        fi_cq_tagged_entry first, second;
        Next(queue, &first);
        Next(queue, &second);
        if (first.op_context != initiator)
            (first, second) = (second, first);
        Assert.True(first.op_context == initiator);
        Assert.True(target == null || second.op_context == target);
        return second;
    }

    private static nint PollFrom(CqHandle queue, fi_cq_tagged_entry* entry, ulong* source)
    {
        Stopwatch watch = Stopwatch.StartNew();
        nint read;
        while ((read = queue.ReadFrom(entry, 1, source)) == -FiErrno.FI_EAGAIN && watch.Elapsed < TimeSpan.FromSeconds(10))
            Thread.Yield();
        return read;
    }

    private static void Next(CqHandle queue, fi_cq_tagged_entry* entry) => Assert.Equal(1, Poll(queue, entry));

    private static nint Poll(CqHandle queue, fi_cq_tagged_entry* entry)
    {
        Stopwatch watch = Stopwatch.StartNew();
        nint read;
        while ((read = queue.Read(entry, 1)) == -FiErrno.FI_EAGAIN && watch.Elapsed < TimeSpan.FromSeconds(10))
            Thread.Yield();
        return read;
    }
}
