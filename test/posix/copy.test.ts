/** copy_file_range: contents, offsets, ends and errors, within and across chunks. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('copying ranges', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('copies whole files and parts of them, to the same place and to others', async () => {
    await ground.compare(`
      a= open a O_RDWR|O_CREAT 0644
      fill $a 0 5500000 1
      b= open b O_RDWR|O_CREAT 0644
      copyrange $a 0 $b 0 5500000
      stat b size
      digest $b 0 6000000
      copyrange $a 1000000 $b 3000 2000001
      digest $b 0 6000000
      copyrange $a 5000000 $b 5000000 9000000
      copyrange $a 5500000 $b 0 10
      copyrange $a 9000000 $b 0 10
      copyrange $a 0 $b 8000000 100
      digest $b 0 9000000
      copyrange $a 0 $a 6000000 3000000
      digest $a 0 9000000
      fill $b 1000000 100 5
      digest $a 0 9000000
      fill $a 2000000 3000000 6
      digest $b 0 9000000
      copyrange $a - $b - 1000
      lseek $a 0 SEEK_CUR
      lseek $b 0 SEEK_CUR
    `);
  });

  it('keeps what a copy holds when the original is changed, cut or removed', async () => {
    await ground.compare(`
      a= open a O_RDWR|O_CREAT 0644
      fill $a 0 9000000 1
      b= open b O_RDWR|O_CREAT 0644
      c= open c O_RDWR|O_CREAT 0644
      copyrange $a 0 $b 0 9000000
      copyrange $b 0 $c 0 9000000
      fill $a 0 9000000 2
      digest $b 0 9000000
      ftruncate $b 3000000
      ftruncate $b 9000000
      digest $b 0 9000000
      digest $c 0 9000000
      close $a
      unlink a
      digest $c 0 9000000
      fill $c 4000000 100000 3
      unlink b
      digest $b 0 9000000
      digest $c 0 9000000
    `);
  });

  it('copies what is sparse, inline and promised', async () => {
    await ground.compare(`
      a= open a O_RDWR|O_CREAT 0644
      write $a small
      ftruncate $a 16000000
      fill $a 7000000 1000 1
      fallocate $a 0 9000000 3000000
      b= open b O_RDWR|O_CREAT 0644
      fill $b 0 12000000 2
      copyrange $a 0 $b 0 16000000
      digest $b 0 16000000
      c= open c O_RDWR|O_CREAT 0644
      copyrange $a 0 $c 0 16000000
      digest $c 0 16000000
      s= open s O_RDWR|O_CREAT 0644
      write $s "a few bytes"
      t= open t O_RDWR|O_CREAT 0644
      copyrange $s 0 $t 0 100
      copyrange $s 2 $t 100 5
      pread $t 0 200
    `);
  });

  it('clears the set-ID bits and changes the times as a write does', async () => {
    await ground.compare(`
      a= open a O_RDWR|O_CREAT 0644
      fill $a 0 3000000 1
      b= open b O_RDWR|O_CREAT 0644
      chown a 1000 1000
      chown b 1000 1000
      chmod b 06775
      snap b
      as 1000:1000 c= open b O_RDWR
      as 1000:1000 d= open a O_RDONLY
      as 1000:1000 copyrange $d 0 $c 0 100
      stat b mode,size
      changed b
      chmod b 06775
      as 1000:1000 copyrange $d 0 $c 0 3000000
      stat b mode,size
      chmod b 06775
      as 1000:1000 copyrange $d 2000000 $c 2000000 3000
      stat b mode,size
      chmod b 06775
      as 1000:1000 copyrange $d 0 $c 2000000 3000
      stat b mode,size
      snap a
      copyrange $a 0 $b 0 100
      changed a
    `);
  });

  it('says what Linux says of wrong calls', async () => {
    await ground.compare(`
      a= open a O_RDWR|O_CREAT 0644
      fill $a 0 100000 1
      r= open a O_RDONLY
      w= open b O_WRONLY|O_CREAT 0644
      p= open c O_RDWR|O_CREAT|O_APPEND 0644
      d= open . O_RDONLY|O_DIRECTORY
      mknod fifo fifo 0644
      f= open fifo O_RDWR|O_NONBLOCK
      copyrange $r 0 $r 0 10
      copyrange $w 0 $w 0 10
      copyrange $w 0 $a 0 10
      copyrange $a 0 $p 0 10
      copyrange $d 0 $w 0 10
      copyrange $a 0 $d 0 10
      copyrange $f 0 $w 0 10
      copyrange $a 0 $a 50000 50001
      copyrange $a 0 $a 10 100
      copyrange $a 0 $w 0 10 1
      copyrange 99 0 $w 0 10
      copyrange $a -1 $w 0 10
      copyrange $a 0 $w 0 0
      stat b size
    `);
  });
});
