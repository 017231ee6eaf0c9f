// The loops of MpiProvider's comparison, on MPI itself: MPI_Put and MPI_Win_flush, MPI_Rget and MPI_Wait, MPI_Send and MPI_Recv.
// Two ranks: the first one measures, the other one makes progress or answers. Prints nanoseconds an operation.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STOP_TAG = 1, PING_TAG = 2, PAGE = 4096 };

static char *memory;
static MPI_Aint target;
static MPI_Win window;
static int size;

static void operate(const char *loop)
{
    MPI_Request request;
    if (strcmp(loop, "write") == 0) {
        MPI_Put(memory, size, MPI_BYTE, 1, target, size, MPI_BYTE, window);
        MPI_Win_flush(1, window);
    } else if (strcmp(loop, "read") == 0) {
        MPI_Rget(memory, size, MPI_BYTE, 1, target, size, MPI_BYTE, window, &request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
    } else {
        MPI_Irecv(memory + size, size, MPI_BYTE, 1, PING_TAG, MPI_COMM_WORLD, &request);
        MPI_Send(memory, size, MPI_BYTE, 1, PING_TAG, MPI_COMM_WORLD);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
    }
}

static void serve(const char *loop, int count)
{
    int is_there = 0;
    if (strcmp(loop, "ping-pong") != 0) {
        while (!is_there)
            MPI_Iprobe(0, STOP_TAG, MPI_COMM_WORLD, &is_there, MPI_STATUS_IGNORE);
    }
    for (int i = 0; strcmp(loop, "ping-pong") == 0 && i < count; i++) {
        MPI_Recv(memory, size, MPI_BYTE, 0, PING_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(memory + size, size, MPI_BYTE, 0, PING_TAG, MPI_COMM_WORLD);
    }
    MPI_Recv(NULL, 0, MPI_BYTE, 0, STOP_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

int main(int argc, char **argv)
{
    int level, rank;
    MPI_Aint own, all[2];
    if (argc != 4)
        return 2;
    size = atoi(argv[2]);
    int count = atoi(argv[3]), warm = count;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    size_t room = (2 * (size_t)size + PAGE - 1) / PAGE * PAGE;
    memory = aligned_alloc(PAGE, room);
    memset(memory, 1, room);
    MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &window);
    MPI_Win_attach(window, memory, (MPI_Aint)room);
    MPI_Win_lock_all(0, window);
    MPI_Get_address(memory, &own);
    MPI_Allgather(&own, 1, MPI_AINT, all, 1, MPI_AINT, MPI_COMM_WORLD);
    target = all[1];
    if (rank == 0) {
        for (int i = 0; i < warm; i++)
            operate(argv[1]);
        double start = MPI_Wtime();
        for (int i = 0; i < count; i++)
            operate(argv[1]);
        printf("time=%.1f allocated=0\n", (MPI_Wtime() - start) / count * 1e9);
        MPI_Send(NULL, 0, MPI_BYTE, 1, STOP_TAG, MPI_COMM_WORLD);
    } else {
        serve(argv[1], count + warm);
    }
    MPI_Win_unlock_all(window);
    MPI_Win_free(&window);
    MPI_Finalize();
    return 0;
}
